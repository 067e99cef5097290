use std::{fs::Permissions, os::unix::fs::PermissionsExt, sync::Barrier, thread};

use super::{super::test_dir::TestDir, *};

/// The key itself is never shown, so this compares a key derived from it.
fn fingerprint(ring: &KeyRing) -> [u8; 32] {
    *ring.current().sub_key("test").as_bytes()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_first_start_creates_a_private_file_and_later_ones_read_it() {
    let dir = TestDir::new();
    let made = load_or_create(dir.path()).unwrap();
    let mode = fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fingerprint(&load_or_create(dir.path()).unwrap()), fingerprint(&made));
    let other = TestDir::new();
    assert_ne!(fingerprint(&load_or_create(other.path()).unwrap()), fingerprint(&made));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary name is gone");
}

#[test]
fn servers_that_start_at_the_same_time_share_one_key() {
    let dir = TestDir::new();
    let start = Barrier::new(16);
    let keys: Vec<_> = thread::scope(|scope| {
        let starting = || {
            start.wait();
            fingerprint(&load_or_create(dir.path()).unwrap())
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(starting)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_others_can_access_is_refused_with_the_remedy() {
    let dir = TestDir::new();
    load_or_create(dir.path()).unwrap();
    let path = dir.path().join(FILE_NAME);
    for mode in [0o640, 0o604, 0o620, 0o610, 0o777] {
        set_mode(&path, mode);
        let message = load_or_create(dir.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("chmod 600 {}", path.display())), "{message}");
    }
    set_mode(&path, 0o400);
    load_or_create(dir.path()).unwrap();
}

#[test]
fn a_broken_file_is_refused_never_replaced_and_never_quoted() {
    let dir = TestDir::new();
    load_or_create(dir.path()).unwrap();
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read_to_string(&path).unwrap();
    let broken = [
        String::new(),
        whole[..whole.len() - 9].to_owned(),
        whole.replace("version = 1", "version = 2"),
        whole.replace("root_key", "other_key"),
        "version = 1\nroot_key = \"c2VjcmV0\"\n".to_owned(),
        format!("{whole}#{}", "x".repeat(5000)).replace("root_key = \"", "root_key = \"=="),
    ];
    for text in broken {
        fs::write(&path, &text).unwrap();
        let error = load_or_create(dir.path()).unwrap_err();
        assert!(matches!(error, KeyFileError::Broken { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("c2VjcmV0"));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_link_to_nothing_is_not_replaced() {
    let dir = TestDir::new();
    std::os::unix::fs::symlink("nowhere", dir.path().join(FILE_NAME)).unwrap();
    assert!(matches!(load_or_create(dir.path()), Err(KeyFileError::Broken { .. })));
    assert!(fs::symlink_metadata(dir.path().join(FILE_NAME)).unwrap().is_symlink());
}

#[test]
fn a_new_key_goes_before_the_others_and_none_is_lost() {
    let dir = TestDir::new();
    let mut known = vec![load_or_create(dir.path()).unwrap().current().kid()];
    while known.len() < MAX_RING_KEYS {
        let path = rotate(dir.path()).unwrap();
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let ring = load_or_create(dir.path()).unwrap();
        let kids: Vec<_> = ring.iter().map(RootKey::kid).collect();
        assert_eq!(kids[1..], known);
        known = kids;
    }
    assert!(matches!(rotate(dir.path()), Err(KeyFileError::Full { .. })));
    assert_eq!(load_or_create(dir.path()).unwrap().current().kid(), known[0]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary name is left");
}

#[test]
fn concurrent_rotations_lose_no_key() {
    let dir = TestDir::new();
    load_or_create(dir.path()).unwrap();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                rotate(dir.path()).unwrap();
            });
        }
    });
    assert_eq!(load_or_create(dir.path()).unwrap().iter().count(), 5);
}

#[test]
fn a_file_that_cannot_be_rotated_stays_unchanged() {
    let dir = TestDir::new();
    assert!(matches!(rotate(dir.path()), Err(KeyFileError::Missing { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    load_or_create(dir.path()).unwrap();
    let path = dir.path().join(FILE_NAME);
    set_mode(&path, 0o640);
    assert!(matches!(rotate(dir.path()), Err(KeyFileError::Exposed { .. })));
    set_mode(&path, 0o600);
    fs::write(&path, "version = 2").unwrap();
    assert!(matches!(rotate(dir.path()), Err(KeyFileError::Broken { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "version = 2");
}

#[test]
fn a_rotation_through_a_link_replaces_the_target() {
    let (dir, real) = (TestDir::new(), TestDir::new());
    load_or_create(real.path()).unwrap();
    std::os::unix::fs::symlink(real.path().join(FILE_NAME), dir.path().join(FILE_NAME)).unwrap();
    rotate(dir.path()).unwrap();
    assert!(fs::symlink_metadata(dir.path().join(FILE_NAME)).unwrap().is_symlink());
    assert_eq!(load_or_create(real.path()).unwrap().iter().count(), 2);
}

#[test]
fn a_missing_directory_is_not_created() {
    let dir = TestDir::new();
    let missing = dir.path().join("volume");
    let message = load_or_create(&missing).unwrap_err().to_string();
    assert!(message.contains("ALDIS_DATA_DIR"), "{message}");
    assert!(!missing.exists());
}
