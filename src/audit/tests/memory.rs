//! What a process keeps of its keys: the one of the day, and none of those before. Its memory is
//! searched for them; here they are kept under a mask, so that the search does not find itself.

use std::fs;
use std::os::unix::fs::FileExt;

use super::*;

const MASK: u8 = 0x5a;
const SEED: &str = "218da46364916f941604db202f72d7c236473176d982f4a6aa250f95a1b5d0f6";
/// Of the epochs 0, 1 and 2, as the seed makes them.
const KEYS: [&str; 3] = [
    "194dbd53d1bc80190fe60ee7d996f4b9f07446f17cad979c0ff882ab16434ce4",
    "6d8f03688b950cb955f38c2b5f8cc76c8e26281e9b5280c91af054db73a5c0b6",
    "56d4d644905375fccb507601c63a890f0bb4a087dc4bef5ea0ccdc8002d58326",
];

fn masked(hex: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

fn unmasked(hex: &str) -> SecretBytes {
    let mut bytes = zeroize::Zeroizing::new(masked(hex));
    bytes.iter_mut().for_each(|byte| *byte ^= MASK);
    SecretBytes::copy_of(&*bytes)
}

/// How often the memory of this process holds the 32 bytes that are this under the mask.
fn held(hex: &str) -> usize {
    let wanted = masked(hex);
    let memory = fs::File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut words = line.split_whitespace();
        let (range, mode) = (words.next().unwrap(), words.next().unwrap());
        // Ledgers, which other tests keep, are shared, and large.
        if !mode.starts_with("rw-p") || line.contains("[vvar") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let at = |text| u64::from_str_radix(text, 16).unwrap();
        let mut bytes = vec![0; (at(to) - at(from)) as usize];
        // A thread may have ended meanwhile.
        let _ = memory.read_at(&mut bytes, at(from));
        let is_it = |window: &[u8]| window.iter().zip(&wanted).all(|(byte, wanted)| byte ^ MASK == *wanted);
        found += bytes.windows(32).filter(|window| (window[0] ^ MASK == wanted[0]) && is_it(window)).count();
        // What was copied is not found again in the next mapping.
        bytes.fill(0);
    }
    found
}

#[test]
fn the_keys_of_before_are_not_in_memory() {
    let place = Place::new();
    let config = AuditConfig { file: Some(place.path()), ..AuditConfig::default() };
    let audit = Audit::with_clock(config, Seed::from(|| Some(unmasked(SEED))), Box::new(place.clock.clone()));
    place.clock.skip(900 * 1_000);
    write(&audit, 0..1);
    let epoch = audit.head().unwrap().epoch;
    assert_eq!((epoch, held(KEYS[0]) > 0), (0, true), "the control: the key of the day is there");
    // So many that the stack has been written over, too.
    place.clock.skip(900);
    write(&audit, 1..50);
    place.clock.skip(900);
    write(&audit, 50..500);
    assert_eq!(audit.head().unwrap().epoch, 2);
    let found = [SEED, KEYS[0], KEYS[1], KEYS[2]].map(held);
    println!("seed {}, keys of before {} and {}, of the day {}", found[0], found[1], found[2], found[3]);
    assert!(found[..3] == [0, 0, 0] && found[3] > 0, "{found:?}");
    let keeper = unmasked(SEED);
    assert!(held(SEED) > 0, "the control: a seed that somebody keeps is found");
    drop(keeper);
}
