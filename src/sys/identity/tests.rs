//! What is found out of processes that are there, at each level.

use std::path::PathBuf;

use super::*;

const ALL: Facts = OF_CGROUP.and(Facts::PROCESS).and(Facts::GROUPS).and(Facts::DIGEST);

fn own_thread() -> Caller {
    let pid = nix::unistd::gettid().as_raw().unsigned_abs();
    Caller { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw(), pid }
}

fn with_digest_of(programs: &[PathBuf], facts: Facts) -> Inquiry<'_> {
    Inquiry { facts, hashed: [programs, &[]] }
}

/// As an older kernel would let us see it.
fn gathered(level: Level, caller: &Caller, facts: Facts) -> Result<Identity, Refusal> {
    let sight = Sight { level, ..Sight::find() };
    let own = [std::env::current_exe().unwrap()];
    gather_with(&sight, caller, &with_digest_of(&own, facts), Pace::Patient).map(Option::unwrap)
}

#[test]
fn all_levels_say_the_same_of_this_process() {
    let own = [std::env::current_exe().unwrap()];
    let best = gather(&own_thread(), with_digest_of(&own, ALL)).unwrap();
    for level in [Level::L1, Level::L2, Level::L3] {
        let it = gathered(level, &own_thread(), ALL).unwrap();
        assert_eq!(it.pidfd.is_some(), level > Level::L1, "{level}");
        assert_eq!(Identity { pidfd: best.pidfd, level: best.level, ..it }, best, "{level}");
    }
    assert_eq!(best.process.map(|it| it.pid), Some(std::process::id()));
    assert_eq!(best.userns, Namespace::Own);
    let exe = best.true_exe().unwrap();
    assert_eq!(exe.path, std::env::current_exe().unwrap());
    assert!(exe.sha256.is_some());
}

#[test]
fn another_thread_is_of_the_same_process_and_has_its_own_credentials() {
    let process = gather(&own_thread(), ALL).unwrap().process;
    let elsewhere = move || {
        let before = gather(&own_thread(), ALL).unwrap();
        // SAFETY: it takes an integer, and changes this thread alone, which ends soon.
        unsafe { libc::syscall(libc::SYS_setfsgid, 4_711) };
        let levels = [Level::L1, Level::L2, Level::L3];
        let told = levels.map(|level| gathered(level, &own_thread(), ALL).err());
        let true_gid = Caller { gid: 4_711, ..own_thread() };
        (before.process, told, levels.map(|level| gathered(level, &true_gid, ALL).is_ok()))
    };
    let (other, told, fits) = std::thread::spawn(elsewhere).join().unwrap();
    assert_eq!(other, process);
    assert_eq!(told, [Some(Refusal::ForeignCredentials); 3], "the request names the gid that it had");
    assert_eq!(fits, [true; 3]);
}

#[test]
fn only_what_is_wanted_is_found_out() {
    let unknown = Identity { level: level(), ..Identity::of(own_thread()) };
    assert_eq!(gather(&own_thread(), Facts::NONE).unwrap(), unknown);
    let it = gather(&own_thread(), Facts::UNIT).unwrap();
    assert!(it.unit != Fact::Unknown && it.cgroup.is_none() && it.exe.is_none() && it.process.is_none());
    let it = gather(&own_thread(), Facts::EXE).unwrap();
    assert!(it.exe.is_some_and(|exe| exe.sha256.is_none()) && it.cgroup.is_none());
}

#[test]
fn who_is_not_its_own_is_refused() {
    let foreign = Caller { pid: 0, ..own_thread() };
    assert_eq!(gather(&foreign, Facts::NONE).err(), Some(Refusal::ForeignPidNamespace));
    let other = Caller { uid: own_thread().uid + 1, ..own_thread() };
    for level in [Level::L1, Level::L2, Level::L3] {
        let refusal = gathered(level, &other, Facts::CREDENTIALS).err();
        assert_eq!(refusal, Some(Refusal::ForeignCredentials), "{level}");
    }
}

#[test]
fn a_thread_of_the_kernel_is_nobody() {
    let kernel = Caller { uid: 0, gid: 0, pid: 2 };
    for level in [Level::L1, Level::L2, Level::L3] {
        let refusal = gathered(level, &kernel, Facts::CREDENTIALS).err();
        assert_eq!(refusal, Some(Refusal::KernelThread), "{level}: process 2 should be kthreadd");
    }
}

#[test]
fn who_changes_is_not_still_the_same() {
    let before = gather(&own_thread(), ALL).unwrap();
    assert_eq!(still(&before, ALL), Ok(()));
    let traced = Identity { traced: true, ..before.clone() };
    assert_eq!(still(&traced, ALL), Err(Refusal::Changed));
}

#[test]
fn a_digest_is_waited_for_once_and_of_no_program_that_nobody_names() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let caller = Caller { pid: child.id(), ..own_thread() };
    let held = Thread::new(child.id(), Level::L1);
    let path = || held.program().map(|it| it.exe.path).filter(|it| it.ends_with("sleep"));
    let path = [std::iter::from_fn(|| Some(path())).flatten().next().unwrap()];
    let state = held.program().unwrap().stat;
    let sum_of = |it: Option<Identity>| it.unwrap().exe.unwrap().sha256;
    let unnamed = sum_of(gather(&caller, with_digest_of(&["/bin/other".into()], Facts::DIGEST)).ok());
    let is_untouched = digest::known(&state).is_none();
    let wanted = with_digest_of(&path, Facts::DIGEST);
    let first = gather_at_once(&caller, wanted).unwrap();
    let sum = sum_of(gather(&caller, wanted).ok());
    let then = sum_of(gather_at_once(&caller, wanted).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(unnamed.is_none() && is_untouched);
    assert!(first.is_none() && sum.is_some());
    assert_eq!(then, sum);
    assert_eq!(digest_of(&path[0]), sum);
}

/// By its path alone nobody is told from who runs the same file under another name.
#[test]
fn a_program_with_two_names_goes_by_the_one_that_it_was_started_by() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    std::fs::copy("/bin/sh", &one).unwrap();
    std::fs::hard_link(&one, &other).unwrap();
    let script = format!("read go; exec {} -c 'read go; :'", other.display());
    let mut shell = std::process::Command::new(&one);
    let mut child = shell.args(["-c", &script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let held = Thread::new(child.id(), Level::L1);
    let runs = |path: &PathBuf| held.program().is_some_and(|it| it.exe.path == *path && it.exe.is_fit);
    let comes_to_run = |path| {
        (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            runs(path)
        })
    };
    assert!(comes_to_run(&one));
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\n").unwrap();
    assert!(comes_to_run(&other), "it is not remembered by what it was");
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(held.program().is_none());
}

/// Its own user: what is found out of it is remembered.
#[test]
fn who_is_in_thousands_of_groups_is_not_asked_at_once() {
    let in_groups = |count: u32, uid: u32| {
        let asked = move || {
            let groups: Vec<u32> = (100_000..100_000 + count).collect();
            // SAFETY: the list is as long as is said; all change this thread alone, which ends soon.
            let outcome = unsafe {
                libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr())
                    + libc::syscall(libc::SYS_setfsuid, uid).min(0)
            };
            assert_eq!(outcome, 0);
            let caller = Caller { uid, ..own_thread() };
            let known = |it: Option<Identity>| it.and_then(|it| it.groups).map(|groups| groups.len());
            let at_once = known(gather_at_once(&caller, Facts::GROUPS).unwrap());
            (
                at_once,
                known(gather(&caller, Facts::GROUPS).ok()),
                gather_at_once(&caller, Facts::UNIT).unwrap().is_some(),
            )
        };
        std::thread::spawn(asked).join().unwrap()
    };
    assert_eq!(in_groups(300, 4_712), (Some(300), Some(300), true), "the control");
    assert_eq!(in_groups(5_000, 4_712), (None, Some(5_000), true));
    assert_eq!(in_groups(300, 4_712), (None, Some(300), true), "for a while");
    assert_eq!(in_groups(300, 4_713), (Some(300), Some(300), true), "nobody else is");
}

#[test]
fn an_open_after_its_lookup_need_not_find_out_again_but_anything_else_must() {
    let caller = own_thread();
    let seen = |identity: &Identity| identity.real_uid;
    let lookup = gather(&caller, ALL).unwrap();
    let all_anew = || seen(&gather(&caller, ALL).unwrap());
    let (thread, credentials) = held(&caller);
    // What nobody could find out twice tells where it comes from.
    let marked = Identity { real_uid: Some(4_711), ..lookup.clone() };
    let keep = |facts| memory::keep(&marked, facts, &thread, &credentials);
    keep(ALL);
    let open = gather(&caller, Facts::UNIT | Facts::CREDENTIALS).unwrap();
    assert_eq!(seen(&open), Some(4_711), "the control");
    assert_eq!(gather(&caller, ALL).unwrap(), lookup, "once");
    keep(Facts::UNIT);
    assert_eq!(all_anew(), lookup.real_uid, "more than was known");
    let moved = Credentials { cgroup: Some(u64::MAX), ..credentials.clone() };
    memory::keep(&marked, ALL, &thread, &moved);
    assert_eq!(all_anew(), lookup.real_uid, "in another control group");
    memory::keep(&marked, ALL, &Arc::new(Thread::new(caller.pid, Level::L3)), &credentials);
    assert_eq!(all_anew(), lookup.real_uid, "of a thread that was there before");
    keep(ALL);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(all_anew(), lookup.real_uid, "a moment later");
    keep(ALL);
    assert_eq!(still(&lookup, ALL), Ok(()), "who asks whether it is still so, asks the kernel");
}

/// Else who asks twice, and the second time for less, would be told that the caller has changed.
#[test]
fn what_is_known_from_before_is_no_more_than_is_asked_for() {
    let few = Facts::UNIT | Facts::CREDENTIALS;
    gather(&own_thread(), ALL).unwrap();
    let recalled = gather(&own_thread(), few).unwrap();
    assert_eq!((recalled.exe.is_some(), recalled.process.is_some()), (false, false));
    assert_eq!(still(&recalled, few), Ok(()));
}

#[test]
fn a_group_of_a_user_s_own_is_no_unit_of_the_system() {
    let own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app.service\n";
    let systems = "0::/system.slice/app.service/below\n";
    assert!(is_of_unit(systems, "app.service", None), "the control");
    assert!(!is_of_unit(own, "app.service", None));
    assert!(is_of_unit(own, "app.service", Some(1000)) && !is_of_unit(own, "app.service", Some(1001)));
    assert!(!is_of_unit(systems, "app.service", Some(1000)));
}

#[test]
fn a_user_s_unit_is_only_his_own() {
    let of = |uid, userns| Identity {
        user_unit: Fact::Is(UserUnit { uid, name: "app.service".to_owned() }),
        userns,
        ..Identity::of(Caller { uid: 7, gid: 7, pid: 7 })
    };
    assert!(is_in_its_own(&of(7, Namespace::Own)));
    assert!(!is_in_its_own(&of(8, Namespace::Own)), "a setuid program in another's manager");
    assert!(!is_in_its_own(&of(7, Namespace::Foreign)) && !is_in_its_own(&of(7, Namespace::Unknown)));
}

fn held(caller: &Caller) -> (Arc<Thread>, Credentials) {
    let held = Held::new(sight(), caller, Facts::CREDENTIALS, Pace::Patient).unwrap();
    (held.thread.clone(), held.credentials.clone().unwrap())
}
