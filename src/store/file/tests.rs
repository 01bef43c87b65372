//! One JSON document as a backend.

use super::super::backend::suite;
use super::*;

fn make(folder: &Path) -> Box<dyn Backend> {
    Box::new(JsonFile::create(&folder.join("store.json")).unwrap())
}

#[test]
fn is_a_backend() {
    suite::run(make);
}

const SPACE: &str = r#"{"name_mac":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","name":"","keys":{},"nodes":{NODES},"secrets":{}}"#;

fn with_nodes(nodes: &str) -> String {
    let space = SPACE.replace("NODES", nodes);
    format!(r#"{{"format":2,"root":null,"namespaces":{{"AAAAAAAAAAAAAAAAAAAAAA==":{space}}}}}"#)
}

#[test]
fn a_text_of_another_shape_is_refused() {
    let decode = |text: &str| Document::decode(text.as_bytes()).map(drop);
    assert_eq!(decode(&with_nodes(r#""0":"","63":"AA==""#)), Ok(()));
    let whole = with_nodes("");
    for (text, what) in [
        (with_nodes(r#""0":"","0":"AA==""#), "a name twice"),
        (with_nodes(r#""0":"","00":"AA==""#), "a number that is written otherwise"),
        (with_nodes(r#""256":"""#), "a number too large"),
        (with_nodes(r#""0":"AB==""#), "bits beyond the last byte"),
        (with_nodes(r#""0":"AA""#), "no padding"),
        (with_nodes(r#""0":[0]"#), "bytes in another form"),
        (whole.replace("AAA=", "AA=="), "a MAC too short"),
        (whole.replace(r#""keys":{},"#, ""), "an entry gone"),
        (whole.replace(r#""keys":{}"#, r#""keys":{},"more":1"#), "an entry more"),
        (whole.replace(r#""format":2,"#, ""), "no format"),
        (whole.replace("null", "{}"), "an empty root"),
        (format!("{whole}{whole}"), "two documents"),
        (whole[..whole.len() - 1].to_owned(), "the end gone"),
        (String::new(), "nothing"),
    ] {
        assert!(matches!(decode(&text), Err(Refusal::Shape(..))), "{what}");
    }
    assert_eq!(decode(&whole.replace("nodes", "buckets").replace(r#""format":2"#, r#""format":1"#)), Ok(()));
    assert_eq!(decode(&whole.replace(r#""format":2"#, r#""format":3"#)), Err(Refusal::Format(3)));
    assert_eq!(decode(r#"{"format":7,"anything":["else"]}"#), Err(Refusal::Format(7)));
}

/// Before a byte of it is read into memory.
#[test]
fn a_file_that_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    File::create(&path).unwrap().set_len(LIMIT + 1).unwrap();
    assert!(matches!(JsonFile::open(&path).map(drop), Err(StoreError::Corrupt(_))));
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(JsonFile::open(&path).is_err(), "neither is one that is no file");
}

#[test]
fn a_writer_waits_for_another_and_then_says_busy() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (make(folder.path()), JsonFile::open(&folder.path().join("store.json")).unwrap());
    let rows = one.write().unwrap();
    assert!(matches!(two.write().map(drop), Err(StoreError::Busy(_))));
    assert!(two.read().is_ok(), "readers do not wait");
    drop(rows);
    assert!(two.write().is_ok());
}

/// The document that took this one's place while it was changed is not lost.
#[test]
fn a_writer_begins_with_what_others_have_written() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (make(folder.path()), JsonFile::open(&folder.path().join("store.json")).unwrap());
    let backends: [&dyn Backend; 2] = [&*one, &two];
    for round in 0..20 {
        let rows = backends[round % 2].write().unwrap();
        let id = [round as u8; 16];
        rows.put_namespace(&NamespaceRow { id, name_mac: [1; 32], name: vec![] }).unwrap();
        rows.commit().unwrap();
    }
    assert_eq!(one.read().unwrap().namespaces().unwrap().len(), 20);
}
