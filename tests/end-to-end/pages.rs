//! What pages show is true: their commands are run, and print what the pages say.
//!
//! A block that begins with three backticks and `console` has commands behind `$ `, each with what it prints below it. Where
//! a page shows nothing, the command has to succeed. A line `...` stands for any lines. Words that differ from one run to the
//! next are compared by their kind: ids, points in time, seconds, ports and agents of a dev cluster ([`alike`]). A command
//! that names an id means the one that was printed where the page shows that id.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::PoisonError,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Dev,
    services::{ONE_AT_A_TIME, services_port},
    support::{Folder, PATIENCE},
    text,
};

/// Commands that only look: they are asked again until they print what the page shows.
const LOOKS: [&str; 6] =
    ["mezzo plan", "mezzo apps", "mezzo app show", "mezzo app history", "mezzo logs", "mezzo why"];

/// A command and the lines that a page shows below it.
struct Shown {
    command: String,
    lines: Vec<String>,
}

/// The commands of the blocks of a page that bring services up.
fn shown(page: &str) -> Vec<Shown> {
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut all: Vec<Shown> = Vec::new();
    for line in blocks.filter(|block| block.contains("$ mezzo up ")).flat_map(str::lines) {
        match line.strip_prefix("$ ") {
            Some(command) => all.push(Shown { command: command.to_owned(), lines: Vec::new() }),
            None => all.last_mut().expect("a command first").lines.push(line.to_owned()),
        }
    }
    all
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where an id of the form 8-4-4-4-12 begins in a word.
fn id_in(word: &str) -> Option<usize> {
    const LENGTHS: [usize; 5] = [8, 4, 4, 4, 12];
    (0..word.len().saturating_sub(35)).find(|at| {
        word.get(*at..at + 36).is_some_and(|id| {
            let parts: Vec<&str> = id.split('-').collect();
            parts.iter().map(|part| part.len()).eq(LENGTHS)
                && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        })
    })
}

/// A word with what differs from run to run replaced by its kind; `next` is the word behind it.
fn kind(word: &str, next: Option<&&str>) -> String {
    let short_id = |word: &str| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_stamp = word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let is_agent = word.strip_prefix("dev-").is_some_and(|rest| digits(rest.trim_end_matches(':')));
    match () {
        () if is_stamp => "TIME".into(),
        () if is_agent => "AGENT".into(),
        () if digits(word) && word.len() == 5 => "PORT".into(),
        () if short_id(word) => "ID".into(),
        () if next == Some(&"s") && word.parse::<f64>().is_ok() => "SECONDS".into(),
        () => match id_in(word) {
            Some(at) => format!("{}ID{}", &word[..at], &word[at + 36..]),
            None => word.into(),
        },
    }
}

/// Whether a printed line is the one that is shown, whatever the width of its columns.
fn alike(shown: &str, printed: &str) -> bool {
    let kinds = |line: &str| -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.iter().enumerate().map(|(at, word)| kind(word, words.get(at + 1))).collect()
    };
    kinds(shown) == kinds(printed)
}

/// Whether these lines were printed, with what stands for any.
fn all_alike(shown: &[String], printed: &[String]) -> bool {
    match shown {
        [] => printed.is_empty(),
        [any, rest @ ..] if any == "..." => (0..=printed.len()).any(|at| all_alike(rest, &printed[at..])),
        [first, rest @ ..] => {
            printed.first().is_some_and(|line| alike(first, line)) && all_alike(rest, &printed[1..])
        }
    }
}

/// The ids of a line.
fn ids(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace().filter_map(|word| word.get(id_in(word)?..)?.get(..36))
}

/// What a command prints to a terminal, without the line about progress that a terminal takes away at the end.
fn run(command: &str, place: &Path, (master, services): (u16, u16)) -> (bool, Vec<String>) {
    let program = Path::new(env!("CARGO_BIN_EXE_mezzo")).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(place)
        .env("PATH", format!("{}:{path}", program.display()))
        .env("MEZZO_MASTER", format!("127.0.0.1:{master}"))
        .env("MEZZO_SERVICES", format!("127.0.0.1:{services}"))
        .env("NO_COLOR", "1")
        .output()
        .expect("run the command");
    let (said, printed) = (text(&output.stderr), text(&output.stdout));
    let said = said.lines().filter(|line| !line.starts_with("step "));
    (output.status.success(), said.chain(printed.lines()).map(str::to_owned).collect())
}

#[test]
fn pages_about_services_show_what_is_printed() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let dev = Dev::start("pages", &["--agents=3", "--services-port=0"]);
    let ports = (dev.port, services_port(&dev));
    for page in ["docs/services.md", "README.md"] {
        let folder = Folder::new("pages-files");
        fs::create_dir(folder.path().join("examples")).expect("make a folder");
        for file in ["examples/web.toml", "examples/web.py"] {
            fs::copy(format!("{root}/{file}"), folder.path().join(file)).expect("copy the example");
        }
        let all = shown(&fs::read_to_string(format!("{root}/{page}")).expect("read the page"));
        assert!(all.len() > 5, "{page} shows how services are used");
        let mut meant: BTreeMap<String, String> = BTreeMap::new();
        for Shown { command, lines } in all {
            let asked = meant.iter().fold(command.clone(), |text, (shown, id)| text.replace(shown, id));
            let start = Instant::now();
            let printed = loop {
                let (is_done, printed) = run(&asked, folder.path(), ports);
                if is_done && (lines.is_empty() || all_alike(&lines, &printed)) {
                    break printed;
                }
                assert!(
                    LOOKS.iter().any(|look| asked.starts_with(look)) && start.elapsed() < PATIENCE,
                    "{page}: {asked}\n{}\n--- and not\n{}",
                    printed.join("\n"),
                    lines.join("\n")
                );
                thread::sleep(Duration::from_millis(200));
            };
            if !lines.iter().any(|line| line == "...") {
                let printed = printed.iter().flat_map(|line| ids(line)).map(str::to_owned);
                let shown = lines.iter().flat_map(|line| ids(line)).map(str::to_owned);
                meant.extend(shown.zip(printed));
            }
        }
    }
    // With all that still runs.
    assert!(dev.stop().success());
}

#[test]
fn lines_are_compared_by_the_kind_of_their_words() {
    assert!(alike("deployed in 2.4 s", "deployed in 13.0 s"));
    assert!(!alike("app /web   2 of 2 running", "app /web   1 of 2 running"));
    assert!(alike(
        "web.instance-994006aa-514b-4aff-8cca-ed83d79b40bf._app.1  dev-1  31087  2026-11-22T13:42:58.392Z",
        "web.instance-cc2513b9-cefe-461c-a0bc-b95aac07bc46._app.1 dev-3 31107 2027-01-02T03:04:05.006Z",
    ));
    let lines = |all: &[&str]| -> Vec<String> { all.iter().map(|line| (*line).to_owned()).collect() };
    assert!(all_alike(&lines(&["...", "b", "..."]), &lines(&["a", "b"])));
    assert!(!all_alike(&lines(&["a"]), &lines(&["a", "b"])));
}
