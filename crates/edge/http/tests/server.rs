//! The server and the client against each other and against raw sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mezzo_http::{
    Body, Bytes, Client, Handler, HeaderMap, HeaderValue, Limits, Method, Request, Response, StatusCode,
    Upgrade, header, serve,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

struct Echo;

impl Handler for Echo {
    async fn handle(&self, mut request: Request) -> Response {
        match request.path.as_str() {
            "/echo" => match request.bytes(100_000).await {
                Ok(body) => Response::json(body).jsonp(request.parameter("jsonp")),
                Err(error) => error.response(),
            },
            "/big" => Response::produced("application/json", |out| {
                for _ in 0..200_000 {
                    out.write(b"0123456789")?;
                }
                Ok(())
            }),
            "/small" => Response::produced("application/json", |out| out.write(b"{}"))
                .jsonp(request.parameter("jsonp")),
            "/stream" => {
                let (sender, response) = Response::stream("application/json", 1 << 20);
                tokio::spawn(async move {
                    for record in ["3\nabc", "2\nde"] {
                        sender.try_send(Bytes::from_static(record.as_bytes())).unwrap();
                    }
                });
                response
            }
            "/flood" => {
                let (sender, response) = Response::stream("application/json", 1 << 20);
                tokio::spawn(async move {
                    let record = Bytes::from(vec![b'x'; 64 << 10]);
                    while sender.try_send(record.clone()).is_ok() {
                        tokio::time::sleep(Duration::from_micros(100)).await;
                    }
                });
                response
            }
            "/link" => {
                let Some(upgrade) = request.upgrade("mezzo-link") else {
                    return Response::text(StatusCode::BAD_REQUEST, "upgrade wanted");
                };
                let response = upgrade.response();
                tokio::spawn(async move {
                    let Upgrade { mut stream, unsent, early } = upgrade.connection().await.unwrap();
                    stream.write_all(&unsent).await.unwrap();
                    let mut four = [0; 4];
                    early.as_ref().chain(&mut stream).read_exact(&mut four).await.unwrap();
                    stream.write_all(&four).await.unwrap();
                });
                response
            }
            _ => Response::text(StatusCode::NOT_FOUND, "404 Not Found."),
        }
    }
}

async fn start(limits: Limits) -> (SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(serve(listener, Arc::new(Echo), limits, async {
        let _ = stopped.await;
    }));
    (address, stop)
}

async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_come_back_and_connections_are_kept() {
    let (address, _stop) = start(Limits::default()).await;
    let (client, to) = (Client::new(), address.to_string());
    for _ in 0..3 {
        let answer = client.post(&to, "/echo", "application/json", Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.bytes(100).await.unwrap(), "{}");
    }
    let answer = client.get(&to, "/nowhere").await.unwrap();
    assert_eq!(answer.header(header::CONTENT_TYPE), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.bytes(100).await.unwrap(), "404 Not Found.");
}

#[tokio::test]
async fn rule_13_gzip_both_ways() {
    let (address, _stop) = start(Limits::default()).await;
    let (client, to) = (Client::new(), address.to_string());
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    for (length, compressed) in [(1023, false), (1024, true)] {
        let body = Body::Full(vec![b'a'; length].into());
        let answer = client.request(Method::POST, &to, "/echo", headers.clone(), body).await.unwrap();
        assert_eq!(answer.header(header::CONTENT_ENCODING).is_some(), compressed, "{length}");
        let body = answer.bytes(10_000).await.unwrap();
        assert_eq!(body.len() < length, compressed);
        if compressed {
            let mut back = HeaderMap::new();
            back.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            let answer = client.request(Method::POST, &to, "/echo", back, Body::Full(body)).await.unwrap();
            assert_eq!(answer.bytes(10_000).await.unwrap(), vec![b'a'; length]);
        }
    }
    let answer = client.request(Method::GET, &to, "/big", headers, Body::Empty).await.unwrap();
    assert_eq!(answer.header(header::CONTENT_ENCODING), Some("gzip"));
    assert!(answer.bytes(1 << 20).await.unwrap().len() < 100_000);
}

#[tokio::test]
async fn rule_16_jsonp() {
    let (address, _stop) = start(Limits::default()).await;
    let (client, to) = (Client::new(), address.to_string());
    for path in ["/echo?jsonp=cb", "/small?jsonp=cb"] {
        let answer = client.post(&to, path, "application/json", Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(answer.header(header::CONTENT_TYPE), Some("text/javascript"));
        assert_eq!(answer.bytes(100).await.unwrap(), "cb({})");
    }
}

#[tokio::test]
async fn produced_bodies_are_chunked_only_when_big() {
    let (address, _stop) = start(Limits::default()).await;
    let (client, to) = (Client::new(), address.to_string());
    let big = client.get(&to, "/big").await.unwrap();
    assert_eq!(big.header(header::CONTENT_LENGTH), None);
    assert_eq!(big.bytes(3_000_000).await.unwrap().len(), 2_000_000);
    let small = client.get(&to, "/small").await.unwrap();
    assert_eq!(small.header(header::CONTENT_LENGTH), Some("2"));
}

#[tokio::test]
async fn rule_39_each_record_is_its_own_chunk() {
    let (address, _stop) = start(Limits::default()).await;
    let answer = raw(address, "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.to_ascii_lowercase().contains("transfer-encoding: chunked"));
    assert!(answer.ends_with("5\r\n3\nabc\r\n4\r\n2\nde\r\n0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_reader_that_never_reads_is_cut_off() {
    let (address, _stop) =
        start(Limits { write_stall: Duration::from_millis(200), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut total = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        total += read;
        assert!(total < 64 << 20, "the stream was not cut off");
    }
}

/// Reads answers until this many have come; gives how many reads that took.
async fn read_answers(stream: &mut TcpStream, wanted: usize) -> usize {
    let (mut all, mut reads) = (Vec::new(), 0);
    while String::from_utf8_lossy(&all).matches("HTTP/1.1 200 OK").count() < wanted || !all.ends_with(b"{}") {
        assert_ne!(stream.read_buf(&mut all).await.unwrap(), 0, "closed before all answers had come");
        reads += 1;
    }
    reads
}

#[tokio::test]
async fn answers_to_pipelined_requests_leave_together() {
    let (address, _stop) = start(Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let echo = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(echo.repeat(100).as_bytes()).await.unwrap();
    let reads = read_answers(&mut stream, 100).await;
    assert!(reads < 20, "100 answers came in {reads} pieces");
    // One that is alone does not wait for a second one, neither does one behind others.
    stream.write_all(echo.as_bytes()).await.unwrap();
    read_answers(&mut stream, 1).await;
}

#[tokio::test]
async fn answers_of_all_sizes_stay_in_order() {
    let (address, _stop) = start(Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let sizes = [1, 20_000, 100, 70_000, 1, 1, 16_384, 90_000, 3];
    let mut requests = String::new();
    for (n, size) in sizes.iter().enumerate() {
        let body = n.to_string().repeat(*size);
        requests += &format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n{body}");
    }
    requests += "GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let (mut reader, mut writer) = stream.split();
    let mut all = Vec::new();
    let (written, read) = tokio::join!(writer.write_all(requests.as_bytes()), reader.read_to_end(&mut all));
    written.and(read).unwrap();
    let mut rest = &all[..];
    for (n, size) in sizes.iter().enumerate() {
        let head = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let digit = b'0' + u8::try_from(n).unwrap();
        assert!(rest[head..head + size].iter().all(|byte| *byte == digit), "answer {n}");
        rest = &rest[head + size..];
    }
    assert!(rest.ends_with(b"{}"));
}

#[tokio::test]
async fn a_peer_that_asks_and_never_reads_is_cut_off() {
    let (address, _stop) =
        start(Limits { write_stall: Duration::from_millis(200), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Answers large enough to fill the sockets soon, and small enough to gather.
    let body = "y".repeat(8_000);
    let request = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let flood = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), flood).await.expect("it is cut off");
}

#[tokio::test]
async fn an_upgrade_that_is_not_granted_is_answered_also_on_the_last_request() {
    let (address, _stop) = start(Limits::default()).await;
    for connection in ["Connection: upgrade\r\nConnection: close", "Connection: upgrade, close"] {
        for (path, status) in [("/nothing", "404"), ("/big", "200"), ("/small", "200")] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{connection}\r\nUpgrade: other\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            tokio::time::timeout(Duration::from_secs(10), read).await.expect("closed").unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer:.100}");
            assert!(path != "/big" || answer.ends_with("\r\n0\r\n\r\n"), "{path} is complete");
        }
    }
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes() {
    let (address, _stop) = start(Limits::default()).await;
    let (client, to) = (Client::new(), address.to_string());
    let mut connection = client.upgrade(&to, "/link", "mezzo-link", HeaderMap::new()).await.unwrap();
    connection.write_all(b"ping").await.unwrap();
    let mut four = [0; 4];
    connection.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ping");
    assert!(client.upgrade(&to, "/echo", "mezzo-link", HeaderMap::new()).await.is_err());
}

#[tokio::test]
async fn oversized_and_slow_input_is_answered_4xx() {
    let limits = Limits {
        body_timeout: Duration::from_millis(100),
        header_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let (address, _stop) = start(limits).await;
    let (client, to) = (Client::new(), address.to_string());
    let answer = client.post(&to, "/echo", "application/json", vec![b'a'; 100_001].into()).await.unwrap();
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = raw(address, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let answer =
        raw(address, &format!("GET / HTTP/1.1\r\nConnection: close\r\nX: {}\r\n\r\n", "y".repeat(100_000)))
            .await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = raw(address, "GARBAGE\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // Neither a head that never ends nor an idle connection stays open.
    assert_eq!(raw(address, "GET / HTTP/1.1\r\nHost:").await, "");
    assert_eq!(raw(address, "").await, "");
}

#[tokio::test]
async fn connections_over_the_limit_are_refused() {
    let (address, _stop) = start(Limits { connections: 1, ..Limits::default() }).await;
    let _held = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = raw(address, "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn a094_one_address_cannot_take_all_connections() {
    let (address, _stop) = start(Limits { connections_per_address: 2, ..Limits::default() }).await;
    let held = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = raw(address, "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    drop(held);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = raw(address, "GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a093_bodies_together_have_a_limit() {
    let (address, _stop) = start(Limits { bodies_bytes: 1000, ..Limits::default() }).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 900\r\n\r\n";
    slow.write_all(format!("{head}{}", "y".repeat(800)).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let full = format!("{head}{}", "y".repeat(900));
    let answer = raw(address, &full).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    drop(slow);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = raw(address, &full).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn stopping_ends_streams() {
    let (address, stop) =
        start(Limits { shutdown_grace: Duration::from_millis(50), ..Limits::default() }).await;
    let answer = Client::new().get(&address.to_string(), "/big").await.unwrap();
    drop(stop);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(TcpStream::connect(address).await.is_err());
    drop(answer);
}
