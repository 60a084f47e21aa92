//! A registry for tests, which can be made to misbehave, and images to put into it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::Digest;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// One answer, good or bad.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Closes the connection after this many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Waits before each of so many bytes.
    pub(crate) pace: Option<(usize, Duration)>,
    /// Says another length than the body has.
    pub(crate) length: Option<u64>,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), cut: None, pace: None, length: None }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::ok("") }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

type Handler = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

/// Listens on loopback until the test process ends.
pub(crate) struct Server {
    pub(crate) authority: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `first` is asked for every request; what it does not answer comes from `content`.
    pub(crate) fn start(
        content: Content,
        first: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let log: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (first, content): (Arc<Handler>, _) = (Arc::new(first), Arc::new(content));
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (first, content, log) = (Arc::clone(&first), Arc::clone(&content), Arc::clone(&kept));
                thread::spawn(move || serve(stream, &*first, &content, &log));
            }
        });
        Self { authority, log }
    }

    /// Requests so far.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    /// How many requests had this in their path.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.log().iter().filter(|request| request.path.contains(part)).count()
    }
}

fn serve(stream: TcpStream, first: &Handler, content: &Content, log: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let request = read_request(&mut reader)?;
        log.lock().unwrap().push(request.clone());
        let reply = first(&request).unwrap_or_else(|| content.answer(&request));
        write_reply(&stream, &request, &reply)?;
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => return Some(Request { method, path, headers }),
        };
    }
}

fn write_reply(mut stream: &TcpStream, request: &Request, reply: &Reply) -> Option<()> {
    let length = reply.length.unwrap_or(reply.body.len() as u64);
    let mut head = format!("HTTP/1.1 {} X\r\ncontent-length: {length}\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    if request.method == "HEAD" {
        return Some(());
    }
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
    match reply.pace {
        None => stream.write_all(body).ok()?,
        Some((bytes, wait)) => {
            for chunk in body.chunks(bytes) {
                thread::sleep(wait);
                stream.write_all(chunk).ok()?;
            }
        }
    }
    // Cut off, or not of the length that was said.
    (reply.cut.is_none() && reply.length.is_none()).then_some(())
}

/// What a well-behaved registry has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    blobs: BTreeMap<String, Vec<u8>>,
    /// By repository and tag or digest.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
}

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// An image to put somewhere.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    /// Media type and packed content.
    pub(crate) layers: Vec<(&'static str, Vec<u8>)>,
}

impl Fixture {
    /// Of tars, which are packed with gzip where they are odd, with settings as JSON.
    pub(crate) fn new(tars: &[Vec<u8>], settings: &str) -> Self {
        let diff_ids: Vec<String> = tars.iter().map(|tar| format!("\"{}\"", Digest::of(tar))).collect();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{settings},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diff_ids.join(",")
        );
        let layers = tars.iter().enumerate().map(|(index, tar)| match index % 2 {
            0 => (PLAIN, tar.clone()),
            _ => (GZIP, gzip(tar)),
        });
        Self::of(config.into_bytes(), layers.collect())
    }

    pub(crate) fn of(config: Vec<u8>, layers: Vec<(&'static str, Vec<u8>)>) -> Self {
        let described: Vec<String> = layers.iter().map(|(kind, content)| descriptor(kind, content)).collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", &config),
            described.join(",")
        );
        Self { config, manifest: manifest.into_bytes(), layers }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub(crate) fn layer(&self, index: usize) -> Digest {
        Digest::of(&self.layers[index].1)
    }
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#, Digest::of(content), content.len())
}

/// An index of manifests for platforms.
pub(crate) fn index(entries: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let entries: Vec<String> = entries
        .iter()
        .map(|(media_type, architecture, content)| {
            let plain = descriptor(media_type, content);
            let platform = format!(r#","platform":{{"os":"linux","architecture":"{architecture}"}}}}"#);
            plain.trim_end_matches('}').to_owned() + &platform
        })
        .collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, entries.join(","))
        .into_bytes()
}

impl Content {
    pub(crate) fn image(mut self, repository: &str, tag: &str, image: &Fixture) -> Self {
        self = self.manifest(repository, tag, OCI_MANIFEST, &image.manifest).blob(&image.config);
        for (_, layer) in &image.layers {
            self = self.blob(layer);
        }
        self
    }

    pub(crate) fn manifest(mut self, repository: &str, tag: &str, media_type: &str, content: &[u8]) -> Self {
        for target in [tag.to_owned(), Digest::of(content).to_string()] {
            let path = format!("/v2/{repository}/manifests/{target}");
            self.manifests.insert(path, (media_type.to_owned(), content.to_owned()));
        }
        self
    }

    pub(crate) fn blob(mut self, content: &[u8]) -> Self {
        self.blobs.insert(Digest::of(content).to_string(), content.to_owned());
        self
    }

    /// Puts other content behind a digest.
    pub(crate) fn forge(mut self, digest: Digest, content: &[u8]) -> Self {
        self.blobs.insert(digest.to_string(), content.to_owned());
        self
    }

    pub(crate) fn answer(&self, request: &Request) -> Reply {
        if let Some((media_type, content)) = self.manifests.get(&request.path) {
            return Reply::ok(content.clone())
                .with("content-type", media_type)
                .with("docker-content-digest", Digest::of(content).to_string());
        }
        let blob = request.path.rsplit_once("/blobs/").and_then(|(_, digest)| self.blobs.get(digest));
        match blob {
            None => Reply::status(404),
            Some(content) => {
                let range = request.headers.get("range");
                let from: Option<usize> =
                    range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
                match from {
                    None => Reply::ok(content.clone()),
                    Some(from) if from < content.len() => Reply {
                        status: 206,
                        ..Reply::ok(&content[from..]).with(
                            "content-range",
                            format!("bytes {from}-{}/{}", content.len() - 1, content.len()),
                        )
                    },
                    Some(_) => Reply::status(416),
                }
            }
        }
    }
}
