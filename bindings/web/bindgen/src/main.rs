//! Writes the JavaScript and the type definitions for a WASM file: `aldis-web-bindgen INPUT.wasm DIRECTORY`.

use std::{env, error::Error};

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [input, directory] = arguments.as_slice() else {
        return Err("usage: aldis-web-bindgen INPUT.wasm DIRECTORY".into());
    };
    let mut bindgen = Bindgen::new();
    bindgen
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true);
    Ok(bindgen.input_path(input).out_name("aldis").generate(directory)?)
}
