//! What the code promises about itself.

use std::{fs, path::Path};

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

fn files_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.into_iter().filter(|(_, source)| source.contains(text)).map(|(name, _)| name).collect()
}

#[test]
fn one_file_knows_the_websocket_library() {
    let files = files_with("tungstenite");
    assert!(matches!(&files[..], [file] if file.ends_with("socket.rs")), "{files:?}");
}

#[test]
fn the_machine_knows_no_runtime() {
    let pure =
        |name: &str| name.contains("machine") || name.ends_with("pending.rs") || name.ends_with("calls.rs");
    assert!(files_with("tokio").iter().all(|name| !pure(name)));
}
