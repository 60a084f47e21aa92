//! /files/browse, read, download and debug, and their v1 forms.

use std::io::Read;

use mezzo_files::{FileInfo, FilesError, Part};
use mezzo_http::{Body, Request, Response, StatusCode, header};
use mezzo_mesos::v1::{
    self, TimeInfo,
    agent::{
        Call, Response as Answer,
        response::{ListFiles, ReadFile, Type},
    },
};
use mezzo_mesos_v0::{FileEntry, files_browse, files_debug, files_read};

use super::{
    Api,
    negotiate::{MessageType, bad_request, expecting},
    v0,
};

/// Bytes of a download that travel together.
const DOWNLOAD_CHUNK: usize = 64 << 10;

fn refused(error: FilesError) -> Response {
    match error {
        // An unknown path is told by the status alone, as recorded.
        FilesError::NotFound => Response::text(StatusCode::NOT_FOUND, ""),
        FilesError::Forbidden => Response::text(StatusCode::FORBIDDEN, ""),
        FilesError::BadRequest(text) => bad_request(text),
        FilesError::Failed { path, source } => {
            tracing::debug!(path, %source, "read sandbox");
            Response::text(StatusCode::INTERNAL_SERVER_ERROR, format!("Failed to read '{path}': {source}"))
        }
    }
}

/// Runs what touches the disk on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, Response> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(refused),
        Err(_) => Err(Response::text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error.")),
    }
}

fn path(request: &Request) -> Result<String, Response> {
    let path = request.parameter("path").map(str::to_owned);
    path.ok_or_else(|| bad_request("Expecting 'path=value' in query.\n"))
}

fn number(request: &Request, name: &str) -> Result<Option<i64>, Response> {
    let Some(text) = request.parameter(name) else { return Ok(None) };
    text.parse()
        .map(Some)
        .map_err(|_| bad_request(format!("Failed to parse {name}: Failed to convert '{text}' to number.\n")))
}

/// GET /files/browse.
pub(super) async fn browse(api: &Api, request: &Request) -> Result<Response, Response> {
    let (files, path) = (api.files.clone(), path(request)?);
    let found: Vec<FileInfo> = blocking(move || files.browse(&path)).await?;
    let entries: Vec<FileEntry<'_>> = found
        .iter()
        .map(|file| FileEntry {
            path: &file.path,
            nlink: file.nlink,
            size: file.size,
            mtime: file.mtime_seconds as f64,
            mode: file.mode,
            user: &file.uid,
            group: &file.gid,
        })
        .collect();
    Ok(v0::json(request, |writer| files_browse(writer, &entries)))
}

/// GET /files/read.
pub(super) async fn read(api: &Api, request: &Request) -> Result<Response, Response> {
    let (files, path) = (api.files.clone(), path(request)?);
    let (offset, length) = (number(request, "offset")?.unwrap_or(-1), number(request, "length")?);
    let part: Part = blocking(move || files.read(&path, offset, length)).await?;
    Ok(v0::json(request, |writer| files_read(writer, part.offset, &part.data)))
}

/// GET /files/download.
pub(super) async fn download(api: &Api, request: &Request) -> Result<Response, Response> {
    let (files, path) = (api.files.clone(), path(request)?);
    let download = blocking(move || files.download(&path)).await.map_err(|response| {
        // Unlike the other two this one has words for it.
        match response.status {
            StatusCode::NOT_FOUND => Response::text(StatusCode::NOT_FOUND, "404 Not Found."),
            _ => response,
        }
    })?;
    let disposition = format!("attachment; filename={}", download.name);
    let response = Response::produced("application/octet-stream", move |out| {
        let mut rest = download.file.take(download.size);
        let mut buffer = vec![0; DOWNLOAD_CHUNK];
        loop {
            match rest.read(&mut buffer)? {
                0 => return Ok(()),
                count => out.write(&buffer[..count])?,
            }
        }
    });
    // Whatever a browser makes of the content, it is not shown as a page of ours (A088).
    let response = response.with(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    Ok(response.with(header::CONTENT_DISPOSITION, &disposition))
}

/// GET /files/debug.
pub(super) fn debug(api: &Api, request: &Request) -> Response {
    let attached = api.files.debug();
    v0::json(request, |writer| {
        files_debug(writer, attached.iter().map(|(name, real)| (name.as_str(), real.as_str())));
    })
}

/// LIST_FILES.
pub(super) async fn list(api: &Api, call: Call, format: MessageType) -> Result<Response, Response> {
    let files = api.files.clone();
    let path = call.list_files.unwrap_or_default().path;
    let found = blocking(move || files.browse(&path)).await?;
    let file_infos = found
        .into_iter()
        .map(|file| v1::FileInfo {
            path: file.path,
            nlink: i32::try_from(file.nlink).ok(),
            size: Some(file.size),
            mtime: Some(TimeInfo { nanoseconds: file.mtime_seconds.saturating_mul(1_000_000_000) }),
            mode: Some(file.mode),
            uid: Some(file.uid),
            gid: Some(file.gid),
        })
        .collect();
    let list_files = Some(ListFiles { file_infos });
    Ok(format.response(&Answer { r#type: Some(Type::ListFiles as i32), list_files, ..Answer::default() }))
}

/// READ_FILE.
pub(super) async fn read_call(api: &Api, call: Call, format: MessageType) -> Result<Response, Response> {
    let files = api.files.clone();
    let Some(read) = call.read_file else { return Err(expecting("agent::Call", "read_file")) };
    // A length beyond any file's is no limit at all.
    let length = read.length.and_then(|length| i64::try_from(length).ok());
    let Ok(offset) = i64::try_from(read.offset) else {
        return Ok(Response::new(StatusCode::BAD_REQUEST, Body::Empty));
    };
    let part = blocking(move || files.read(&read.path, offset, length)).await?;
    let read_file = Some(ReadFile { size: part.size, data: part.data });
    Ok(format.response(&Answer { r#type: Some(Type::ReadFile as i32), read_file, ..Answer::default() }))
}
