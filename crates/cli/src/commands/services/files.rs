//! Reads the files that name services.

use std::path::{Path, PathBuf};

use mezzo_document::Problem;
use mezzo_service_file::{Entry, FILE_BYTES_MAX, Form};

use crate::error::{CliError, Exit};

/// All services of all files, in their order.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Entry>, CliError> {
    let mut entries: Vec<Entry> = Vec::new();
    for file in files {
        for entry in one(file)? {
            if entries.iter().any(|other| other.id == entry.id) {
                return Err(CliError::new(Exit::Usage, format!("{} is named twice", entry.id))
                    .place(file.display().to_string())
                    .why("each app, pod and group is said once"));
            }
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn one(file: &Path) -> Result<Vec<Entry>, CliError> {
    let (name, form) = match file.to_str() {
        Some("-") => ("stdin".to_owned(), Form::Json),
        _ => (file.display().to_string(), Form::of(&file.to_string_lossy())),
    };
    let text = text(file, &name)?;
    let folder = std::path::absolute(file).ok();
    let folder = folder.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    mezzo_service_file::read(&name, &text, form, &folder.to_string_lossy()).map_err(refused)
}

/// The text of a file, or of stdin.
pub(crate) fn text(file: &Path, name: &str) -> Result<String, CliError> {
    let failed = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        CliError::new(exit, format!("read {name}")).why(error.to_string())
    };
    let mut reader: Box<dyn std::io::Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(file).map_err(failed)?),
    };
    let mut text = String::new();
    // One byte more than allowed tells a file that is too long from one that just fits.
    let mut limited = std::io::Read::take(&mut reader, FILE_BYTES_MAX as u64 + 1);
    std::io::Read::read_to_string(&mut limited, &mut text).map_err(failed)?;
    Ok(text)
}

/// A mistake in a file, with its place.
pub(crate) fn refused(problem: Problem) -> CliError {
    let mut error = CliError::new(Exit::Usage, problem.what.clone()).why(problem.why.clone());
    if let Some(place) = &problem.place {
        error = error.place(format!("{}:{}:{}", place.file, place.line, place.column));
    }
    if let Some(excerpt) = problem.excerpt() {
        error = error.excerpt(excerpt);
    }
    problem.help.iter().fold(error, |error, help| error.help(help.clone()))
}
