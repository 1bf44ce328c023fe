//! Makes the list of example jobs (`jobs/*.toml`) that `reconciled init` writes: the folder is the only list. And for the static binary,
//! names the C compiler's own helpers, which its allocator calls and the Rust library for musl need not bring.

use std::fmt::Write;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=jobs");
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        println!("cargo::rustc-link-arg-bins=-lgcc");
    }
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    let out = std::env::var("OUT_DIR").expect("cargo names a folder for what is generated");
    let mut names: Vec<String> = std::fs::read_dir(Path::new(&root).join("jobs"))
        .expect("the folder jobs can be read")
        .filter_map(|entry| {
            entry
                .expect("the folder jobs can be read")
                .file_name()
                .into_string()
                .ok()
        })
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    let mut text = String::from("&[\n");
    for name in &names {
        let path = Path::new(&root).join("jobs").join(format!("{name}.toml"));
        let _ = writeln!(text, "    ({name:?}, include_str!({:?})),", path.display().to_string());
    }
    text.push_str("]\n");
    std::fs::write(Path::new(&out).join("example_jobs.rs"), text).expect("the generated list can be written");
}
