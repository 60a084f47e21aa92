use std::io::Cursor;

use super::*;

fn read(text: &str) -> Result<Trace, Problem> {
    Trace::read("t.csv", Cursor::new(text))
}

fn refused(text: &str) -> String {
    read(text).expect_err("refused").to_string()
}

#[test]
fn csv_and_json_say_the_same() {
    let csv = "submit,duration,cpus,mem,gpus,count,role,framework,constraint\n\
               # a comment\n\
               30,1h,0.5,512,0,1,web,,\n\
               10,60,4,2048,1,8,ml/train,trainer,\"rack=r1\"\n";
    let json = "{\"submit\": 30, \"duration\": \"1h\", \"cpus\": 0.5, \"mem\": 512, \"role\": \"web\"}\n\
                {\"submit\": 10, \"duration\": 60, \"cpus\": 4, \"mem\": 2048, \"gpus\": 1, \"count\": 8, \
                \"role\": \"ml/train\", \"framework\": \"trainer\", \"constraint\": \"rack=r1\"}\n";
    let (csv, json) = (read(csv).expect("csv"), read(json).expect("json"));
    assert_eq!(csv, json);
    assert_eq!(csv.submissions[0].submit, Duration::from_secs(10), "sorted");
    assert_eq!((csv.tasks(), csv.wants_gpus(), csv.owners.len()), (9, true, 2));
    assert_eq!(csv.owners[0], Owner { framework: "web".into(), role: "web".into() });
    let again = read(&csv.to_csv()).expect("own output");
    assert_eq!(again.to_csv(), csv.to_csv());
    assert_eq!(again.tasks(), 9);
}

#[test]
fn a_wrong_value_has_line_and_column() {
    let text = refused("submit,duration,cpus\n0,60,1\n5,-3,1\n");
    assert_eq!(
        text,
        "'duration' is '-3'\n  --> t.csv:3:3\n   |\n 3 | 5,-3,1\n   |   ^^\n   = expected seconds that are not \
         negative, or a duration, at most a hundred years\n  help: for example  60 or 1m"
    );
    assert!(refused("submit,duration,cpu\n").contains("did you mean 'cpus'?"));
    assert!(refused("submit,duration,cpus\n1,2\n").contains("the line has 2 values"));
    assert!(refused("submit,cpus\n").contains("no column 'duration'"));
    assert!(refused("submit,duration,cpus,cpus\n").contains("there twice"));
    assert!(refused("submit,duration,cpus\n1,1,NaN\n").contains("'cpus' is 'NaN'"));
    assert!(refused("submit,duration,cpus\n1,1,inf\n").contains("--> t.csv:2:5"));
    assert!(refused("submit,duration,cpus,count\n1,1,1,1.5\n").contains("'count' is 1.5"));
    assert!(refused("submit,duration,cpus\n1,1,0\n").contains("needs nothing"));
    assert!(refused("submit,duration,cpus,constraint\n1,1,1,rack\n").contains("rack=r1"));
    assert!(refused("submit,duration,cpus,role\n1,1,1,\"web\n").contains("a quote is not closed"));
    assert!(refused("").contains("is empty"));
    assert!(refused("submit,duration\n").contains("submits nothing"));
    assert!(refused("{\"submit\": 1, \"duration\": 1, \"cpsu\": 1}").contains("did you mean 'cpus'?"));
    assert!(refused("{\"submit\": 1, \"duration\": 1, \"cpus\": [1]}").contains("a list or an object"));
    assert!(refused("{\"submit\": 1, \"duration\": 1\n").contains("--> t.csv:1:"));
    assert!(refused("[1]\n").contains("no column '[1]'"));
}

#[test]
fn hostile_lines_are_refused_with_their_limit() {
    let long = format!("submit,duration,cpus\n{}\n", "9".repeat(LINE_BYTES_MAX + 10));
    assert!(refused(&long).contains("at most 65536 bytes"));
    let commas = format!("submit,duration,cpus\n{}\n", ",".repeat(5000));
    assert!(refused(&commas).contains("more than 64 values"));
    let binary = Trace::read("t", Cursor::new(b"submit,duration\n\xff\xfe\n".to_vec())).expect_err("refused");
    assert!(binary.to_string().contains("expected UTF-8"));
    let deep = format!("{{\"submit\":{}", "[".repeat(10_000));
    assert!(refused(&deep).contains("not JSON"));
    let many = "submit,duration,cpus,count\n".to_owned() + &"0,1,1,1000000\n".repeat(11);
    assert!(refused(&many).contains("more than 10000000 tasks"));
    assert!(refused("submit,duration,cpus\n0,1e300,1\n").contains("hundred years"));
    let bell = "submit,duration,cpus,role\n0,1,1,a\u{7}b\n";
    assert!(refused(bell).contains("control character"));
}
