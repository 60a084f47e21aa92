//! The virtual files of the master. It has one at most: its log, as /master/log.

use std::{
    fs::{File, Metadata},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use mezzo_http::{Request, Response, StatusCode, header};
use mezzo_json::Writer;
use mezzo_mesos::v1::{
    self,
    master::{
        Response as Answer,
        call::ReadFile,
        response::{ListFiles, ReadFile as FilePart, Type},
    },
};

use crate::{format::Format, shared::Shared};

/// Virtual path of the log.
const LOG: &str = "/master/log";
/// Bytes of one part: 16 memory pages (rule 21).
const PART_MAX: u64 = 16 * 4096;

fn not_found() -> Response {
    Response::text(StatusCode::NOT_FOUND, "")
}

fn find(shared: &Shared, path: &str) -> Result<PathBuf, Response> {
    let log = shared.config.log_file.as_ref().filter(|_| path.trim_end_matches('/') == LOG);
    log.cloned().ok_or_else(not_found)
}

fn parameter<'a>(request: &'a Request, name: &str) -> Result<&'a str, Response> {
    request.parameter(name).ok_or_else(|| {
        Response::text(StatusCode::BAD_REQUEST, format!("Expecting '{name}=value' in query.\n"))
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Response> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(not_found()),
        Ok(Err(error)) => Err(Response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Err(_) => Err(Response::text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error.")),
    }
}

/// The log itself is a file, so there is no folder to list; whoever asks for it is told that it is there.
async fn stat(shared: &Shared, path: &str) -> Result<Metadata, Response> {
    let real = find(shared, path)?;
    blocking(move || std::fs::metadata(real)).await
}

/// LIST_FILES.
pub(crate) async fn list(shared: &Shared, path: &str, format: Format) -> Result<Response, Response> {
    let found = stat(shared, path).await?;
    let info = v1::FileInfo {
        path: LOG.into(),
        nlink: i32::try_from(found.nlink()).ok(),
        size: Some(found.len()),
        mode: Some(found.mode()),
        uid: Some(found.uid().to_string()),
        gid: Some(found.gid().to_string()),
        ..Default::default()
    };
    let answer = Answer {
        r#type: Some(Type::ListFiles.into()),
        list_files: Some(ListFiles { file_infos: vec![info] }),
        ..Default::default()
    };
    Ok(Response::content(format.content_type(), format.encode(&answer)))
}

fn part(path: &Path, offset: u64, length: Option<u64>) -> io::Result<(u64, Vec<u8>)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(offset))?;
    let mut data = Vec::new();
    file.take(length.unwrap_or(PART_MAX).min(PART_MAX)).read_to_end(&mut data)?;
    Ok((size, data))
}

/// READ_FILE.
pub(crate) async fn read(shared: &Shared, read: ReadFile, format: Format) -> Result<Response, Response> {
    let real = find(shared, &read.path)?;
    let (size, data) = blocking(move || part(&real, read.offset, read.length)).await?;
    let answer = Answer {
        r#type: Some(Type::ReadFile.into()),
        read_file: Some(FilePart { size, data }),
        ..Default::default()
    };
    Ok(Response::content(format.content_type(), format.encode(&answer)))
}

/// GET /files/browse.
pub(crate) async fn browse(shared: &Shared, request: &Request) -> Result<Response, Response> {
    let found = stat(shared, parameter(request, "path")?).await?;
    let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let mut w = Writer::new();
    w.begin_array();
    w.begin_object();
    w.key("gid");
    w.string(&found.gid().to_string());
    w.key("mode");
    w.string("-rw-r--r--");
    w.key("mtime");
    w.double(modified.map_or(0.0, |time| time.as_secs() as f64));
    w.key("nlink");
    w.unsigned(found.nlink());
    w.key("path");
    w.string(LOG);
    w.key("size");
    w.unsigned(found.len());
    w.key("uid");
    w.string(&found.uid().to_string());
    w.end_object();
    w.end_array();
    Ok(Response::json(w.finish()))
}

/// GET /files/read: without an offset only the size (rule 21).
pub(crate) async fn read_part(shared: &Shared, request: &Request) -> Result<Response, Response> {
    let number = |name: &str| match request.parameter(name) {
        None => Ok(-1),
        Some(text) => text.parse::<i64>().map_err(|_| {
            let text = format!("Failed to parse {name}: Failed to convert '{text}' to number.\n");
            Response::text(StatusCode::BAD_REQUEST, text)
        }),
    };
    let real = find(shared, parameter(request, "path")?)?;
    let (offset, length) = (number("offset")?, number("length")?);
    let (offset, data) = match u64::try_from(offset) {
        Ok(offset) => (offset, blocking(move || part(&real, offset, u64::try_from(length).ok())).await?.1),
        Err(_) => (blocking(move || std::fs::metadata(real)).await?.len(), Vec::new()),
    };
    let mut w = Writer::new();
    w.begin_object();
    w.key("data");
    w.lossy(&data);
    w.key("offset");
    w.unsigned(offset);
    w.end_object();
    Ok(Response::json(w.finish()))
}

/// GET /files/download.
pub(crate) async fn download(shared: &Shared, request: &Request) -> Result<Response, Response> {
    let real = find(shared, parameter(request, "path")?)
        .map_err(|_| Response::text(StatusCode::NOT_FOUND, "404 Not Found."))?;
    let file = blocking(move || File::open(real)).await?;
    let response =
        Response::produced("application/octet-stream", move |out| io::copy(&mut &file, out).map(drop));
    // Whatever a browser makes of the content, it is not shown as a page of ours (A088).
    let response = response.with(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    Ok(response.with(header::CONTENT_DISPOSITION, "attachment; filename=log"))
}

/// GET /files/debug.
pub(crate) fn debug(shared: &Shared) -> Response {
    let mut w = Writer::new();
    w.begin_object();
    if let Some(log) = &shared.config.log_file {
        w.key(LOG);
        w.string(&log.to_string_lossy());
    }
    w.end_object();
    Response::json(w.finish())
}
