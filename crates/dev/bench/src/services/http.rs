//! Requests to Marathon's API, each over a connection of its own.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
};

use anyhow::{Context, Result};

use crate::client::{PATIENCE, read_head};

/// Status and body of the answer, which has to begin, and to go on, within [`PATIENCE`].
pub(super) fn ask(port: u16, method: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
    exchange(port, method, path, body)
        .with_context(|| format!("{method} {path}: no whole answer; each part is waited for {PATIENCE:?}"))
}

fn exchange(port: u16, method: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    let mut reader = BufReader::with_capacity(1 << 18, stream);
    let (status, _) = read_head(&mut reader)?;
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer)?;
    Ok((status, answer))
}
