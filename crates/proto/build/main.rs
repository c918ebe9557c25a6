//! Compiles every `.proto` file of the top-level `proto/` folder, without `protoc`.
//!
//! `mesos.v1*` messages also get their JSON form (`json.rs`, `shapes.rs`) and the table of required fields (`required.rs`).

#![expect(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

mod json;
mod names;
mod required;
mod schema;
mod shapes;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost_types::{DescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rerun-if-changed=build");

    let descriptors = compile(&root)?;
    write_descriptors(&descriptors, &out.join("descriptors.bin"))?;
    let schema = schema::Schema::of(&descriptors, "mesos.v1");
    fs::write(out.join("mesos_json.rs"), json::generate(&schema))?;
    fs::write(out.join("mesos_shapes.rs"), shapes::generate(&schema))?;
    fs::write(out.join("mesos_required.rs"), required::generate(&schema))?;
    fs::write(out.join("exports.rs"), exports(&descriptors))?;
    generate_messages(descriptors)?;
    Ok(())
}

/// Parses and checks all files below `root`; an error names file, line and column.
fn compile(root: &Path) -> Result<FileDescriptorSet, Box<dyn Error>> {
    let mut files = Vec::new();
    list_protos(root, &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files).map_err(|error| format!("{error:?}"))?;
    Ok(compiler.file_descriptor_set())
}

fn list_protos(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list_protos(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes the set without comments: it is embedded in every binary.
fn write_descriptors(descriptors: &FileDescriptorSet, path: &Path) -> io::Result<()> {
    let mut stripped = descriptors.clone();
    for file in &mut stripped.file {
        file.source_code_info = None;
    }
    fs::write(path, prost::Message::encode_to_vec(&stripped))
}

/// Packages `mesarch.*` are reached without their first name.
fn exports(descriptors: &FileDescriptorSet) -> &'static str {
    let ours = descriptors.file.iter().any(|file| file.package().starts_with("mesarch."));
    if ours { "pub use self::mesarch::*;" } else { "" }
}

/// Messages and gRPC services, one file per package, and `modules.rs`, which nests them as the packages are nested.
///
/// Clients are made from a channel only: a channel has deadlines and limits to be set, and the short cut `connect`
/// would collide with a method of that name.
fn generate_messages(mut descriptors: FileDescriptorSet) -> io::Result<()> {
    descriptors.file.iter_mut().flat_map(|file| &mut file.message_type).for_each(forget_deprecation);
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .build_transport(false)
        .include_file("modules.rs")
        .compile_fds(descriptors)
}

/// What Mesos deprecates is still part of its API, and a warning at each use would tell us nothing.
fn forget_deprecation(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if let Some(options) = &mut field.options {
            options.deprecated = None;
        }
    }
    message.nested_type.iter_mut().for_each(forget_deprecation);
}
