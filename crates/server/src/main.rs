//! The `aldis` binary: flags to [`Config`], errors to an exit code, nothing else.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use aldis_server::config::{Config, ConfigError, Loaded, key_file};

fn main() -> ExitCode {
    match Config::load(std::env::args_os(), std::env::vars_os()) {
        Ok(Loaded::Run(config)) => run(&config),
        Ok(Loaded::Print(text)) => print(&text),
        Err(error) => refuse(&error),
    }
}

fn run(config: &Config) -> ExitCode {
    match key_file::load_or_create(&config.data_dir) {
        Ok(_root_key) => ExitCode::SUCCESS,
        Err(error) => refuse(&error.into()),
    }
}

/// A reader that closed its end early (`aldis --help | head`) is no failure.
fn print(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Exit code 2: started wrongly, so that a supervisor can tell it from a crash.
fn refuse(error: &ConfigError) -> ExitCode {
    let _ = writeln!(io::stderr(), "{}", error.to_string().trim_end());
    ExitCode::from(2)
}
