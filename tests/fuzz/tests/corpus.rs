//! Replays the corpus of each fuzz target, and mutations of it.
//!
//! `ALDIS_FUZZ_SEED` chooses the mutations, `ALDIS_FUZZ_ROUNDS` how many there are of each file. To replay one input:
//! `ALDIS_FUZZ_TARGET=session ALDIS_FUZZ_INPUT=FILE cargo test -p aldis-fuzz -- one_input`.

#[path = "corpus/mutation.rs"]
mod mutation;

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use aldis_fuzz::{TARGETS, Target, target};
use mutation::Mutator;

/// The mutations of each file where the environment says nothing.
const ROUNDS: usize = 300;

macro_rules! replay {
    ($($name:ident),+) => { $(#[test] fn $name() { replay(target(stringify!($name))); })+ };
}

replay!(client_frames, server_frames, texts, bodies, chain, registry, session, client);

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut folders: Vec<_> = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    folders.sort();
    let mut names = TARGETS.map(|target| target.name);
    names.sort_unstable();
    assert_eq!(folders, names);
}

#[test]
fn one_input() {
    let (Ok(name), Some(input)) = (env::var("ALDIS_FUZZ_TARGET"), env::var_os("ALDIS_FUZZ_INPUT")) else {
        return;
    };
    (target(&name).run)(&fs::read(input).unwrap());
}

fn replay(target: Target) {
    let corpus = corpus(&root().join(target.name));
    corpus.iter().for_each(|input| run(target, input));
    let mut mutator = Mutator::new(number("ALDIS_FUZZ_SEED").unwrap_or(1));
    for input in &corpus {
        for _ in 0..number("ALDIS_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| usize::try_from(rounds).unwrap()) {
            run(target, &mutator.mutate(input, &corpus));
        }
    }
}

/// Runs a target; if it fails, keeps the input in a file.
fn run(target: Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let file = env::temp_dir().join(format!("aldis-fuzz-{}-{}", target.name, std::process::id()));
        fs::write(&file, input).unwrap();
        eprintln!("this input fails: ALDIS_FUZZ_TARGET={} ALDIS_FUZZ_INPUT={}", target.name, file.display());
        resume_unwind(panic);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The files of a folder, in the order of their names.
fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn number(variable: &str) -> Option<u64> {
    Some(env::var(variable).ok()?.parse().expect("a number"))
}
