//! `mezzo import`

use std::{io::Write as _, path::Path};

use super::files;
use crate::{
    args::services::Import,
    error::{CliError, Exit},
};

/// Writes a compose file as a file of services, and says what it could not carry over.
pub(crate) fn import(arguments: &Import) -> Result<(), CliError> {
    let name = arguments.file.display().to_string();
    let text = files::text(&arguments.file, &name)?;
    let imported = mezzo_service_file::import(&name, &text).map_err(files::refused)?;
    let folder = arguments.file.parent().unwrap_or(Path::new(""));
    let target = arguments.to.clone().unwrap_or_else(|| folder.join("services.toml"));
    if target.as_os_str() == "-" {
        print!("{}", imported.text);
    } else {
        // What somebody has changed by hand is not lost.
        let made =
            std::fs::File::create_new(&target).and_then(|mut file| file.write_all(imported.text.as_bytes()));
        made.map_err(|error| {
            CliError::new(Exit::Failed, format!("write {}", target.display()))
                .why(error.to_string())
                .help(format!("mezzo import {name} --to OTHER.toml"))
        })?;
        eprintln!(
            "Wrote {}, {} services, {} lines.",
            target.display(),
            imported.services,
            imported.text.lines().count()
        );
    }
    for left in &imported.left {
        eprintln!("  could not carry over: {left}");
    }
    if target.as_os_str() != "-" {
        eprintln!("  next:  mezzo plan {}", target.display());
    }
    Ok(())
}
