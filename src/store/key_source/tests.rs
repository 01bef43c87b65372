//! Keys from every source, and every refusal with the command that mends it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::*;

const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn raw() -> Vec<u8> {
    (0..32).collect()
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }
}

fn is_the_key(key: &MasterKey) -> bool {
    key.0.expose().to_vec() == raw()
}

#[track_caller]
fn assert_refused(path: &Path, problem: &str, mend: &str) {
    let Err(error) = key_file::read(path, Trust::Owner) else { panic!("{} was taken", path.display()) };
    assert!(error.to_string().contains(problem), "{error}");
    assert!(error.hint().contains(mend), "{}", error.hint());
    assert!(!error.to_string().contains("0001020304"), "{error}");
}

#[test]
fn a_file_holds_raw_bytes_or_digits() {
    let files = Files::new();
    for content in [raw(), HEX.into(), format!("{HEX}\n").into(), HEX.to_uppercase().into()] {
        let key = key_file::read(&files.put("key", &content, 0o400), Trust::Owner).unwrap();
        assert!(is_the_key(&key));
    }
}

#[test]
fn a_file_with_anything_else_is_refused() {
    let files = Files::new();
    for content in [
        "",
        "\n",
        &HEX[1..],
        &format!("{HEX}0"),
        &format!("{HEX}\n\n"),
        &format!("{HEX}\r\n"),
        &format!(" {HEX}"),
        &HEX.replace('a', "g"),
        &"x".repeat(4096),
        &"+1".repeat(32),
    ] {
        assert_refused(&files.put("key", content.as_bytes(), 0o400), "it holds no key", "backup");
    }
    assert_refused(&files.put("key", &raw()[1..], 0o400), "it holds no key", "backup");
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let files = Files::new();
    for mode in [0o644, 0o440, 0o404, 0o420, 0o602, 0o410, 0o401] {
        let path = files.put("key", HEX.as_bytes(), mode);
        assert_refused(&path, "lets others read", &format!("chmod 0400 {}", path.display()));
    }
    let other = files.put("passwd", b"root:x:0:0", 0o644);
    assert_refused(&other, "it holds no key", "name the key file");
    for mode in [0o400, 0o600] {
        assert!(key_file::read(&files.put("key", HEX.as_bytes(), mode), Trust::Owner).is_ok());
    }
}

#[test]
fn a_credential_may_have_an_access_list() {
    let files = Files::new();
    let path = files.put("key", HEX.as_bytes(), 0o440);
    assert!(key_file::read(&path, Trust::Manager).is_ok());
    for mode in [0o444, 0o460] {
        assert!(key_file::read(&files.put("key", HEX.as_bytes(), mode), Trust::Manager).is_err());
    }
}

#[test]
fn what_is_no_file_of_its_own_is_refused() {
    let files = Files::new();
    let path = files.put("key", HEX.as_bytes(), 0o400);
    let folder = files.0.path();
    symlink(&path, folder.join("link")).unwrap();
    assert_refused(
        &folder.join("link"),
        "symbolic link",
        &path.canonicalize().unwrap().display().to_string(),
    );
    assert_refused(folder, "not a regular file", "regular file");
    assert_refused(&folder.join("none"), "not there", "secretfs init");
    let fifo = folder.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_refused(&fifo, "not a regular file", "regular file");
    std::fs::hard_link(&path, folder.join("second")).unwrap();
    assert_refused(&path, "2 names", "samefile");
}

#[test]
fn a_file_of_a_stranger_is_refused() {
    assert!(nix::unistd::geteuid().is_root(), "this test changes a file's owner: run it as root");
    let files = Files::new();
    let path = files.put("key", HEX.as_bytes(), 0o400);
    std::os::unix::fs::chown(&path, Some(64_741), None).unwrap();
    assert_refused(&path, "belongs to uid 64741", "chown 0 ");
}

#[test]
fn the_variable_holds_digits_or_base64() {
    let standard = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for text in [HEX, &format!("{HEX}\n"), standard, standard.trim_end_matches('=')] {
        assert!(is_the_key(&parse_text(&SecretBytes::copy_of(text.as_bytes())).unwrap()), "{text}");
    }
    for letters in
        ["+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/8=", "-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_8="]
    {
        assert!(parse_text(&SecretBytes::copy_of(letters.as_bytes())).is_ok(), "{letters}");
    }
    for text in ["", "x", "AAEC", &standard[4..], &"A".repeat(200), "ä"] {
        assert!(
            matches!(parse_text(&SecretBytes::copy_of(text.as_bytes())), Err(KeyError::Variable)),
            "{text}"
        );
    }
}

#[test]
fn sources_are_tried_in_order_and_keys_of_other_stores_are_named() {
    let files = Files::new();
    let store = StoreId([7; 16]);
    let right = key_file::read(&files.put("right", HEX.as_bytes(), 0o400), Trust::Owner).unwrap();
    let wanted = keyring::id_of(&right.0);
    let wrong = "ff".repeat(32);
    let folder = files.0.path().to_owned();
    let find = |file: Option<&str>, variable: Option<&str>, credential: &str, default: &str| {
        if let Some(text) = file {
            files.put("given", text.as_bytes(), 0o400);
        }
        files.put(CREDENTIAL, credential.as_bytes(), 0o400);
        files.put(&format!("{store}.key"), default.as_bytes(), 0o400);
        let sources = KeySources {
            file: file.map(|_| folder.join("given")),
            environment: EnvKey(variable.map(|text| Arc::new(SecretBytes::copy_of(text.as_bytes())))),
            credentials: Some(folder.clone()),
            folder: Some(folder.clone()),
            ..KeySources::default()
        };
        let found = sources.find(Path::new("/nowhere"), &store, &wanted);
        for name in ["given", CREDENTIAL, &format!("{store}.key")] {
            let _ = std::fs::remove_file(folder.join(name));
        }
        found.map(|found| found.source)
    };
    assert!(find(Some(HEX), None, &wrong, &wrong).is_ok_and(|source| source.ends_with("/given")));
    assert!(find(Some(&wrong), Some(HEX), &wrong, &wrong).is_ok_and(|source| source == VARIABLE));
    assert!(find(None, Some(&wrong), HEX, &wrong).is_ok_and(|source| source.ends_with(CREDENTIAL)));
    assert!(find(None, None, &wrong, HEX).is_ok_and(|source| source.ends_with(&format!("{store}.key"))));
    let Err(error) = find(Some(&wrong), Some(&wrong), &wrong, &wrong) else { panic!("a wrong key fits") };
    let text = error.to_string();
    for source in ["given", VARIABLE, CREDENTIAL, &format!("{store}.key")] {
        assert!(text.contains(source), "{text}");
    }
    assert_eq!(text.matches("it is not the key of this store").count(), 4, "{text}");
    // What cannot be trusted is not passed over, though a later source would fit.
    assert!(matches!(find(Some("no key"), None, HEX, HEX), Err(KeyError::File { .. })));
    assert!(matches!(find(None, Some("no key"), HEX, HEX), Err(KeyError::Variable)));
    assert!(matches!(find(None, None, "no key", HEX), Err(KeyError::File { .. })));
}

#[test]
fn a_new_key_file_reads_back_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/on/the/way.key");
    let key = MasterKey::generate().unwrap();
    key.write(&path).unwrap();
    let meta = path.metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.nlink(), meta.len()), (0o400, 1, 65));
    assert_eq!(path.parent().unwrap().metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(key_file::read(&path, Trust::Owner).unwrap().0.expose(), key.0.expose());
    assert!(MasterKey::generate().unwrap().write(&path).is_err());
    assert_eq!(key_file::read(&path, Trust::Owner).unwrap().0.expose(), key.0.expose());
}
