//! The file of the log: an end that is torn, one that goes away or is exchanged meanwhile, and places to which
//! nothing is written.

use super::*;

#[test]
fn a_torn_end_is_told_as_torn_and_closed() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..5);
    let whole = fs::read(place.path()).unwrap();
    for cut in [2, 40, 100] {
        fs::write(place.path(), &whole[..whole.len() - cut]).unwrap();
        assert!(matches!(place.troubles()[..], [Trouble::Torn { .. }]), "{cut}: {:?}", place.troubles());
        write(&place.audit(1 << 30), 5..8);
        let report = place.report();
        assert!(report.is_sound(), "{cut}: {report:?}");
        assert!(matches!(report.findings[..], [Finding { trouble: Trouble::Torn { .. }, .. }]), "{report:?}");
        // What was closed cannot be taken out, nor something else be put in its place.
        let mut lines = place.lines();
        let torn = lines.iter().position(|line| Record::parse(&line[..line.len() - 1]).is_none()).unwrap();
        lines[torn].insert(0, b'x');
        assert!(!verify(&lines, true).is_sound());
        lines.remove(torn);
        assert!(!verify(&lines, true).is_sound());
    }
}

#[test]
fn a_record_that_lacks_its_break_only_is_whole() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..5);
    let whole = fs::read(place.path()).unwrap();
    fs::write(place.path(), &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(place.troubles()[..], [Trouble::Torn { .. }]));
    write(&place.audit(1 << 30), 5..8);
    assert_eq!(place.report().findings, []);
}

#[test]
fn what_happens_to_the_file_meanwhile_is_noticed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("emptied", |path| fs::write(path, "").unwrap()),
        ("cut", |path| {
            let text = fs::read(path).unwrap();
            let end = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
            fs::write(path, &text[..end]).unwrap();
        }),
        ("replaced", |path| {
            fs::rename(path, path.with_extension("old")).unwrap();
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }),
    ];
    for (what, change) in changes {
        let place = Place::new();
        let audit = place.audit(1 << 30);
        write(&audit, 0..5);
        change(&place.path());
        write(&audit, 5..8);
        let report = place.report();
        assert!(!report.is_sound(), "{what}: {report:?}");
        let lost = place
            .lines()
            .iter()
            .filter(|line| String::from_utf8_lossy(line).contains("\"log-lost\""))
            .count();
        assert_eq!(lost, 1, "{what}");
    }
}

#[test]
fn nothing_is_written_where_it_could_go_astray() {
    let place = Place::new();
    let elsewhere = place.dir.path().join("elsewhere");
    type Make = fn(&Path, &Path);
    let unfit: [(&str, Make); 5] = [
        ("symbolic link", |path, other| symlink(other, path).unwrap()),
        ("open to others", |path, _| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("linked from elsewhere", |path, other| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::hard_link(path, other).unwrap();
        }),
        ("no regular file", |path, _| {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        }),
        ("Is a directory", |path, _| fs::create_dir(path).unwrap()),
    ];
    for (what, make) in unfit {
        make(&place.path(), &elsewhere);
        let error = place.audit(1 << 30).record(event(0)).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
        let _ = fs::remove_file(place.path()).or_else(|_| fs::remove_dir(place.path()));
        let _ = fs::remove_file(&elsewhere);
    }
    // What was wrong is mended: the same one goes on.
    let audit = place.audit(1 << 30);
    symlink(&elsewhere, place.path()).unwrap();
    assert!(audit.record(event(0)).is_err());
    fs::remove_file(place.path()).unwrap();
    audit.record(event(1)).unwrap();
    assert_eq!(place.report().findings, []);
}

#[test]
fn what_is_not_required_does_not_keep_anybody_from_reading() {
    let config = |required| AuditConfig {
        file: Some("/nowhere/at/all/audit.log".into()),
        required: Some(required),
        ..AuditConfig::default()
    };
    assert!(Audit::new(config(false), Seed::from(|| Some(seed()))).record(event(0)).is_ok());
    let error = Audit::new(config(true), Seed::from(|| Some(seed()))).record(event(0)).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("mkdir -p -m 700 /nowhere/at/all"));
    let locked = Audit::new(config(true), Seed::Locked).record(event(0)).unwrap_err();
    assert!(matches!(locked, AuditError::NoKey));
}
