//! Reads an H5AD file and writes it again: `copy IN.h5ad OUT.h5ad [none | gzip level]`.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use vacuole_anndata::H5ad;
use vacuole_anndata::write::{Compression, H5adWriter, WriteOptions};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (input, output, compression) = match arguments.as_slice() {
        [input, output] => (input, output, Compression::default()),
        [input, output, none] if none == "none" => (input, output, Compression::None),
        [input, output, level] => (input, output, Compression::Gzip(level.parse()?)),
        _ => return Err("usage: copy IN.h5ad OUT.h5ad [none | gzip level]".into()),
    };
    let options = WriteOptions::default().with_compression(compression);
    copy(&H5ad::open(Path::new(input))?, H5adWriter::create(Path::new(output), options)?)?;
    Ok(())
}

fn copy(input: &H5ad, mut output: H5adWriter) -> vacuole_anndata::Result<()> {
    output.copy_frame("obs", input.obs())?;
    output.copy_frame("var", input.var())?;
    if let Some(x) = input.x() {
        output.matrix("X", x)?;
    }
    if let Some(raw) = input.raw()? {
        if let Some(x) = &raw.x {
            output.matrix("raw/X", x)?;
        }
        output.copy_frame("raw/var", &raw.var)?;
        for (name, element) in &raw.varm {
            output.element(&format!("raw/varm/{name}"), element)?;
        }
    }
    let parts = [
        ("layers", input.layers()?),
        ("obsm", input.obsm()?),
        ("varm", input.varm()?),
        ("obsp", input.obsp()?),
        ("varp", input.varp()?),
        ("uns", input.uns()?),
    ];
    for (part, elements) in &parts {
        for (name, element) in elements {
            output.element(&format!("{part}/{name}"), element)?;
        }
    }
    output.finish()
}
