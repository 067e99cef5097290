//! Compiles the published schema, without a protobuf compiler on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    #[cfg(feature = "protobuf")]
    compile()?;
    Ok(())
}

#[cfg(feature = "protobuf")]
fn compile() -> Result<(), Box<dyn std::error::Error>> {
    let schema = protox::compile(["aldis/v1/envelope.proto"], ["proto"])?;
    prost_build::Config::new()
        .bytes(["."])
        // Some fields are secrets, which must not print.
        .skip_debug(["."])
        .compile_fds(schema)?;
    Ok(())
}
