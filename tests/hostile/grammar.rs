//! Templates by the thousand: what the grammar allows, in sizes that it does not, and what a slip of
//! the hand makes of them. The same seed gives the same templates.

/// xorshift64*: enough to choose by, and the same everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % count
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// Mostly small, and now and then what nobody would write.
    fn number(&mut self) -> String {
        const ODD: [&str; 10] = [
            "0",
            "-1",
            "4096",
            "65536",
            "1000000000",
            "9223372036854775807",
            "-9223372036854775808",
            "1e308",
            "0.1",
            "0x7f",
        ];
        if self.chance(3) { self.one(&ODD).to_owned() } else { self.below(12).to_string() }
    }
}

const NAMES: [&str; 16] = [
    "secrets.v",
    "secrets.large",
    "secrets.n",
    "secrets.json",
    "secrets.gone",
    "secrets.bytes",
    "secrets['v']",
    "secrets.v.version",
    "secrets.v.meta.created_at",
    "secret('v', version=1)",
    "secret('gone')",
    "secrets.cert.key",
    "reader.uid",
    "env.PATH",
    "secrets",
    "x",
];
const FILTERS: [&str; 24] = [
    "default",
    "fallback",
    "required",
    "hash",
    "bcrypt",
    "b64encode",
    "b64decode",
    "urlencode",
    "tojson",
    "indent",
    "trim",
    "lower",
    "upper",
    "join",
    "split",
    "lines",
    "from_json",
    "raw",
    "quote",
    "format",
    "replace",
    "batch",
    "dictsort",
    "safe",
];
const OPERATORS: [&str; 16] =
    ["~", "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", ">=", "and", "or", "in", "not in"];
const TEXTS: [&str; 12] =
    ["", "x", "'", "sha256", "sha512", "\\n", "\\u0000", "{{", "<<", "a b c", "\u{202e}", "%0999999999d"];
const WORDS: [&str; 14] =
    ["{{", "}}", "{%", "%}", "{#", "#}", "<<", ">>", "<%", "%>", "endfor", "endif", "(", "]"];

/// How a syntax begins and ends values, and tags.
pub(crate) type Marks = [&'static str; 4];
pub(crate) const JINJA: Marks = ["{{ ", " }}", "{% ", " %}"];
pub(crate) const ANGLE: Marks = ["<< ", " >>", "<% ", " %>"];

/// A template of the seed's choice.
pub(crate) fn template(dice: &mut Dice, marks: Marks) -> String {
    let mut text = String::new();
    for _ in 0..=dice.below(6) {
        text += &part(dice, marks, 0);
    }
    if dice.chance(3) { slip(dice, text) } else { text }
}

fn part(dice: &mut Dice, marks: Marks, depth: usize) -> String {
    let [open, close, begin, end] = marks;
    let inner = |dice: &mut Dice| if depth < 6 { part(dice, marks, depth + 1) } else { "x".to_owned() };
    match dice.below(12) {
        0..=4 => format!("{open}{}{close}", expression(dice, 0)),
        5 => format!("{begin}if {}{end}{}{begin}endif{end}", expression(dice, 0), inner(dice)),
        6 => {
            format!("{begin}if {}{end}a{begin}else{end}{}{begin}endif{end}", expression(dice, 1), inner(dice))
        }
        7 | 8 => {
            let over = if dice.chance(2) { "secrets.n | lines".to_owned() } else { expression(dice, 0) };
            format!("{begin}for x in {over}{end}{}{begin}endfor{end}", inner(dice))
        }
        9 => format!("key: \"{open}{}{close}\"\n", expression(dice, 1)),
        10 => {
            let word = dice.one(&[
                "set x = 1",
                "include 'x'",
                "macro a()",
                "raw",
                "import 'x' as y",
                "filter upper",
                "do x",
            ]);
            format!("{begin}{word}{end}")
        }
        _ => format!("{}text\n", "\u{feff}é{}\"' \n".repeat(dice.below(3))),
    }
}

fn expression(dice: &mut Dice, depth: usize) -> String {
    if depth > 5 {
        return dice.one(&NAMES).to_owned();
    }
    let below = |dice: &mut Dice| expression(dice, depth + 1);
    match dice.below(14) {
        0..=3 => dice.one(&NAMES).to_owned(),
        4 => format!("'{}'", dice.one(&TEXTS)),
        5 => dice.number(),
        6 | 7 => format!("{} {} {}", below(dice), dice.one(&OPERATORS), below(dice)),
        8 => format!("({})", below(dice)),
        9 => format!("{} if {} else {}", below(dice), below(dice), below(dice)),
        10 => format!("[{}]", (0..dice.below(5)).map(|_| below(dice) + ", ").collect::<String>()),
        11 => format!("{}[{}]", below(dice), below(dice)),
        12 => format!("{}{}", "not ".repeat(dice.below(140)), below(dice)),
        _ => filtered(dice, depth),
    }
}

fn filtered(dice: &mut Dice, depth: usize) -> String {
    let mut text = expression(dice, depth + 1);
    // A long row, now and then.
    let count = if dice.chance(20) { 200 } else { 1 + dice.below(4) };
    for _ in 0..count {
        text += " | ";
        text += dice.one(&FILTERS);
        match dice.below(4) {
            0 => text += &format!("({})", expression(dice, depth + 2)),
            1 => text += &format!("({}, {})", dice.number(), expression(dice, depth + 2)),
            _ => {}
        }
        if text.len() > 4096 {
            break;
        }
    }
    text
}

/// What a slip of the hand makes of it: something is lost, doubled, moved or put in between.
fn slip(dice: &mut Dice, text: String) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..=dice.below(3) {
        let at = dice.below(letters.len() + 1);
        let end = (at + dice.below(20)).min(letters.len());
        match dice.below(4) {
            0 => drop(letters.drain(at..end)),
            1 => {
                let again: Vec<char> = letters[at..end].repeat(1 + dice.below(400));
                letters.splice(at..at, again);
            }
            2 => {
                let word = dice.one(&WORDS).repeat(1 + dice.below(3));
                letters.splice(at..at, word.chars());
            }
            _ => letters.rotate_left(at),
        }
    }
    letters.truncate(200_000);
    letters.into_iter().collect()
}
