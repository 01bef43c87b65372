//! What is found out of processes that are there, at each level.

use super::*;

const ALL: Facts = OF_CGROUP.and(Facts::PROCESS).and(Facts::GROUPS).and(Facts::DIGEST);

fn own_thread() -> Caller {
    let pid = nix::unistd::gettid().as_raw().unsigned_abs();
    Caller { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw(), pid }
}

/// As an older kernel would let us see it.
fn gathered(level: Level, caller: &Caller, facts: Facts) -> Result<Identity, Refusal> {
    let sight = Sight { level, ..Sight::find() };
    let digest = |program: &Program| Some(digest::of(&program.file, &program.stat));
    gather_with(&sight, caller, facts, &digest).map(Option::unwrap)
}

#[test]
fn all_levels_say_the_same_of_this_process() {
    let best = gather(&own_thread(), ALL).unwrap();
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
    assert!(it.cgroup.is_some() && it.exe.is_none() && it.process.is_none());
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
fn a_digest_is_waited_for_once() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let caller = Caller { pid: child.id(), ..own_thread() };
    let running = |_: &()| Program::of(child.id()).is_some_and(|it| it.exe().path.ends_with("sleep"));
    while !running(&()) {
        std::thread::yield_now();
    }
    let first = gather_at_once(&caller, Facts::DIGEST).unwrap();
    let sum = gather(&caller, Facts::DIGEST).unwrap().exe.unwrap().sha256;
    let then = gather_at_once(&caller, Facts::DIGEST).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first.is_none() && sum.is_some());
    assert_eq!(then.unwrap().exe.unwrap().sha256, sum);
}

#[test]
fn an_open_after_its_lookup_need_not_find_out_again_but_anything_else_must() {
    let seen = |identity: &Identity| identity.real_uid;
    let lookup = gather(&own_thread(), ALL).unwrap();
    // What nobody could find out twice tells where it comes from.
    memory::keep(&Identity { real_uid: Some(4_711), ..lookup.clone() }, ALL, &held(&own_thread()));
    let open = gather(&own_thread(), Facts::UNIT | Facts::CREDENTIALS).unwrap();
    assert_eq!(seen(&open), Some(4_711), "the control");
    assert_eq!(gather(&own_thread(), ALL).unwrap(), lookup, "once");
    memory::keep(&Identity { real_uid: Some(4_711), ..lookup.clone() }, Facts::UNIT, &held(&own_thread()));
    assert_eq!(seen(&gather(&own_thread(), ALL).unwrap()), lookup.real_uid, "more than was known");
    let moved = Credentials { cgroup: Some(u64::MAX), ..held(&own_thread()) };
    memory::keep(&Identity { real_uid: Some(4_711), ..lookup.clone() }, ALL, &moved);
    assert_eq!(seen(&gather(&own_thread(), ALL).unwrap()), lookup.real_uid, "in another control group");
    memory::keep(&Identity { real_uid: Some(4_711), ..lookup.clone() }, ALL, &held(&own_thread()));
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(seen(&gather(&own_thread(), ALL).unwrap()), lookup.real_uid, "a moment later");
    memory::keep(&Identity { real_uid: Some(4_711), ..lookup.clone() }, ALL, &held(&own_thread()));
    assert_eq!(still(&lookup, ALL), Ok(()), "who asks whether it is still so, asks the kernel");
}

fn held(caller: &Caller) -> Credentials {
    Held::new(sight(), caller, Facts::CREDENTIALS).credentials.unwrap()
}
