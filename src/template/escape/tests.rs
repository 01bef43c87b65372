//! The places where a value must not be written, and those where it is written in an unusual way.
//! That what is written is read back right is for `tests/escaping.rs` and the real readers.

use super::*;
use crate::template::format::Dialect;

const DOTENV: Format = Format::Env(Dialect::Dotenv);
const SYSTEMD: Format = Format::Env(Dialect::Systemd);
const SHELL: Format = Format::Env(Dialect::Shell);
const DOCKER: Format = Format::Env(Dialect::Docker);
const COMPOSE: Format = Format::Env(Dialect::Compose);

/// Text with a value at each `@`.
fn encode(format: Format, text: &str, value: &str) -> Result<String, &'static str> {
    let mut out = Output::new(1 << 20);
    let mut encoder = encoder(format, 1 << 20);
    let mut write = || {
        for (place, part) in text.split('@').enumerate() {
            if place > 0 {
                encoder.value(Emitted::Text(value.as_bytes()), Span::new(place, place), &mut out)?;
            }
            encoder.text(part.as_bytes(), &mut out)?;
        }
        encoder.finish(&mut out)
    };
    match write() {
        Ok(()) => Ok(String::from_utf8(out.bytes().to_vec()).unwrap()),
        Err(Refusal::Place { reason, .. }) => Err(reason),
        Err(Refusal::Full) => Err("full"),
    }
}

#[track_caller]
fn refuses(format: Format, text: &str, value: &str, why: &str) {
    let reason = encode(format, text, value).expect_err(text);
    assert!(reason.contains(why), "{text} with {value:?}: {reason}");
}

#[track_caller]
fn writes(format: Format, text: &str, value: &str, expected: &str) {
    assert_eq!(encode(format, text, value).as_deref(), Ok(expected), "{text} with {value:?}");
}

#[test]
fn dotenv_keeps_the_template_s_quotes_if_they_carry_the_value() {
    writes(DOTENV, "K=@", "v", "K='v'");
    writes(DOTENV, "K=\"@\"", "v", "K=\"v\"");
    writes(DOTENV, "K=\"@\"", "a$b", "K='a$b'");
    writes(DOTENV, "K='@'", "a'b", "K=\"a'b\"");
    writes(DOTENV, "K=\"${HOME}/@\"", "v", "K=\"${HOME}/v\"");
    writes(DOTENV, "K=\"${HOME}/@ $USER @\"", "v", "K=\"${HOME}/v $USER v\"");
    writes(DOTENV, "@_URL=1", "DB", "DB_URL=1");
    writes(DOTENV, "K=it's\nL=@", "v", "K=it's\nL='v'");
    writes(DOTENV, "# don't\nL=@", "v", "# don't\nL='v'");
}

#[test]
fn dotenv_refuses_what_its_readers_read_differently() {
    refuses(DOTENV, "K=@", "a\\b", "backslash");
    refuses(DOTENV, "K=@", "a\rb", "carriage return");
    refuses(DOTENV, "K=@", "a'b\"", "every way to quote");
    refuses(DOTENV, "K='@{X}'", "$", "every way to quote");
    refuses(DOTENV, "K=\"$@\"", "X", "take the value in");
    refuses(DOTENV, "K=\"${A@}\"", "X", "take the value in");
    refuses(DOTENV, "K=\"${HOME}/@\"", "$X", "among the text around it");
    refuses(DOTENV, "K=\"\\@\"", "n", "backslash");
    refuses(DOTENV, "K=`@`", "v", "only node reads");
    refuses(DOTENV, "K=\"@\"x", "v", "follows the closing quote");
    refuses(DOTENV, "K=\"x\"@", "v", "after a closing quote");
    refuses(DOTENV, "K=\"@", "v", "never closed");
    refuses(DOTENV, "K=a#@", "v", "without quotes");
    refuses(DOTENV, "@", "A=1", "variable's name");
    refuses(DOTENV, "@\nA=1", "A", "not `NAME=value`");
    refuses(DOTENV, "@=1", "1A", "variable's name");
    refuses(DOTENV, "# @", "a\u{2028}B=1", "its comment");
    refuses(DOTENV, "# @", "a\nB=1", "its comment");
    refuses(DOTENV, "K= # @", "v", "where the comment");
    refuses(DOTENV, "a b=@", "v", "about a variable whose name");
    refuses(DOTENV, "=x@", "v", "about a variable whose name");
    refuses(DOTENV, "K=1 # @", "#", "where the comment");
}

#[test]
fn dotenv_refuses_after_text_that_is_read_differently() {
    for text in ["A=\"x\\\"\nK=@", "N: \"x\nK=@", "A=`x\ny`\nK=@", "A=\"x\ny\"z\nK=@"] {
        refuses(DOTENV, text, "v", "disagree about a line further up");
    }
}

#[test]
fn systemd_escapes_within_any_quotes() {
    writes(SYSTEMD, "K=@", "a'b\"c\\d$e`f", r#"K="a'b\"c\\d\$e\`f""#);
    writes(SYSTEMD, "K=\"\\\"@\"", "\"", "K=\"\\\"\\\"\"");
    writes(SYSTEMD, "K='$@'", "'", "K=\"\\$'\"");
    writes(SYSTEMD, "K=a\\\nb\nL=@", "v", "K=a\\\nb\nL=\"v\"");
    writes(SYSTEMD, "K=\"a\"b@", "v", "K=\"a\"\"bv\"");
    writes(SYSTEMD, "K=\"a\" 'b\nL=@'", "v", "K=\"a\" \"b\nL=v\"");
    refuses(SYSTEMD, "K=@", "\u{fffe}", "noncharacter");
    refuses(SYSTEMD, "K=\"@\" # note", "v", "follows the closing quote");
    refuses(SYSTEMD, "export K=@", "v", "about a variable whose name");
    refuses(SYSTEMD, "1K=@", "v", "about a variable whose name");
    writes(SYSTEMD, " K_1 =@", "v", " K_1 =\"v\"");
    refuses(SYSTEMD, "; @", "a\\", "its comment");
    refuses(SYSTEMD, "K=\"\\@\"", "v", "take the value in");
}

#[test]
fn compose_escapes_in_double_quotes() {
    writes(COMPOSE, "K=@", "a'b\"c\\d$e`f", r#"K="a'b\"c\\d\$e`f""#);
    writes(COMPOSE, "K='a @'", "${X}", "K=\"a \\${X}\"");
    writes(COMPOSE, "K=\"${X}@\"", "$", "K=\"${X}\\$\"");
    refuses(COMPOSE, "K='\\@'", "v", "backslash");
    refuses(COMPOSE, "K=\"${X:-@}\"", "v", "take the value in");
    refuses(COMPOSE, "K=\"@\" L=1", "v", "follows the closing quote");
    refuses(COMPOSE, "N: \"x\"\nK=@", "v", "disagree about a line further up");
}

#[test]
fn docker_takes_a_value_as_it_is_or_refuses() {
    writes(DOCKER, "K=@", "a'b\"c\\d$e`f #", "K=a'b\"c\\d$e`f #");
    writes(DOCKER, "K=\"@\"\r\n", " v ", "K=\" v \"\r\n");
    writes(DOCKER, "  # @\n@_K=a#b @", "v", "  # v\nv_K=a#b v");
    refuses(DOCKER, "K=@", "a\nb", "line break");
    refuses(DOCKER, "K=@", "b\r", "line break");
    refuses(DOCKER, "K=@ # note", "v", "the comment on this line");
    refuses(DOCKER, "K=@  \nL=1", "v", "blanks at the end");
    refuses(DOCKER, "K= @", "v", "blanks after the `=`");
    refuses(DOCKER, "export K=@", "v", "a blank in a variable's name");
    refuses(DOCKER, "K = @", "v", "a blank in a variable's name");
    refuses(DOCKER, "@", "A", "not `NAME=value`");
    refuses(DOCKER, "@=1", "A=B", "variable's name");
    refuses(DOCKER, "K=@", &"v".repeat(65_534), "64 KiB");
    assert!(encode(DOCKER, "K=@\nL=@", &"v".repeat(65_533)).is_ok());
}

#[test]
fn a_shell_gets_words_that_never_run() {
    writes(SHELL, "K=@", "it's $(id)", r"K='it'\''s $(id)'");
    writes(
        SHELL,
        "export A=x@y B=\"@\" C='@' # @",
        "`$'\"",
        r#"export A=x'`$'\''"'y B="\`\$'\"" C='`$'\''"' # `$'""#,
    );
    writes(SHELL, "K=\"${HOME}/@\"; L=@", "v", "K=\"${HOME}/v\"; L='v'");
    writes(
        SHELL,
        "[ -f x ] && . x\nif true; then\n  K=@\nfi",
        "v",
        "[ -f x ] && . x\nif true; then\n  K='v'\nfi",
    );
    writes(SHELL, "@_URL=1\nexport @=2", "DB", "DB_URL=1\nexport DB=2");
    for text in
        ["@", "echo @", "eval A=@", "env A=@ x", "K= @", "K =@", "x; alias a=@", "export -n A=@", "\"K\"=@"]
    {
        assert!(encode(SHELL, text, "v=w").is_err(), "{text}");
    }
    for text in ["K=@ cmd", "K=@ | x", "K=@ &", "K=@ > f", "K=@(", "K=@ export L", "K=@`"] {
        refuses(SHELL, text, "v", "text follows this value");
    }
    for text in ["cat <<E\nK=@\nE", "K=$(x @)", "K=(@)", "K=`x`@", "f() {\nK=@\n}", "K=$'@'", "K=\"$(@)\""] {
        refuses(SHELL, text, "v", "is not followed");
    }
    for text in ["K=$X/@", "K=~@", "K=@*", "K=@\r\n", "K=@\\", "export K=@{a,b}"] {
        refuses(SHELL, text, "v", "without quotes");
    }
    for text in ["K=\"$@\"", "K=\"$A@\"", "K=\"${A:-@}\"", "K=\\@", "K=\"\\@\""] {
        refuses(SHELL, text, "v", "take the value in");
    }
    refuses(SHELL, "K=\"@", "v", "never closed");
    refuses(SHELL, "# @", "a\nid", "its comment");
}

#[test]
fn json_follows_strings_and_refuses_elsewhere() {
    writes(Format::Json, "{\"a\\\"@\": @}", "x\"", "{\"a\\\"x\\\"\": \"x\\\"\"}");
    writes(Format::Json, "[@]", "\u{2028}\u{7f}\u{1}", "[\"\\u2028\\u007f\\u0001\"]");
    refuses(Format::Json, "\"\\@\"", "n", "escape sequence");
    refuses(Format::Json, "\"\\u00@\"", "41", "escape sequence");
    refuses(Format::Json, "// it's \"@\n", "v", "comment");
    refuses(Format::Json, "/* \" */ /* @ */", "v", "comment");
    refuses(Format::Json, "['@']", "v", "single quotes");
}

#[test]
fn pgpass_escapes_or_refuses() {
    let pgpass = Format::Pgpass;
    writes(pgpass, "h:1:d:@:@\n", r"a:b\c *#", "h:1:d:a\\:b\\\\c *#:a\\:b\\\\c *#\n");
    writes(pgpass, "# @\r\n@:*:*:u\\:@:p@\r\n", "v", "# v\r\nv:*:*:u\\:v:pv\r\n");
    writes(pgpass, "h:1:d:u:@", "*", "h:1:d:u:*");
    writes(pgpass, "# h:1:d", "", "# h:1:d");
    refuses(pgpass, "h:1:d:u:@", "a\nb", "line break");
    refuses(pgpass, "h:1:d:u:@", "a\r", "line break");
    refuses(pgpass, "h:1:d:u:@", "", "is empty");
    refuses(pgpass, "h:1:d:u:\\@", "v", "would take its first character in");
    refuses(pgpass, "h:1:d:@:p", "*", "matches everything");
    refuses(pgpass, "@:1:d:u:p", "#h", "makes a comment");
    refuses(pgpass, "h:1:d:u:p:@", "v", "nothing after the password");
    refuses(pgpass, "h:1:d:u:@ # note", "v", "the comment on this line");
    refuses(pgpass, "h:1:d:u:@ \n", "v", "blanks at the end");
    refuses(pgpass, "h:1:d:@", "v", "a line that is not");
    refuses(pgpass, " # @", "v", "a line that is not");
    refuses(pgpass, "# @", "a\nb", "its comment");
}

#[test]
fn netrc_quotes_or_refuses() {
    let netrc = Format::Netrc;
    writes(
        netrc,
        "machine @ login @\n password\r\n@",
        r#"a "b\"#,
        r#"machine "a \"b\\" login "a \"b\\"
 password\r\n"a \"b\\""#
            .replace("\\r\\n", "\r\n")
            .as_str(),
    );
    writes(
        netrc,
        "default login \"x \\\" @@\" password p # c\nmacdef m\n a\n",
        "",
        "default login \"x \\\" \" password p # c\nmacdef m\n a\n",
    );
    for value in ["a\nb", "\t", "\u{85}"] {
        refuses(netrc, "machine h password @", value, "control character");
    }
    refuses(netrc, "machine h password @", "", "is empty");
    refuses(netrc, "machine h @", "v", "a word like");
    refuses(netrc, "machine h login login @", "v", "a word like");
    refuses(netrc, "machine h password x@", "v", "right before this value");
    refuses(netrc, "machine h password @@", "v", "right before this value");
    refuses(netrc, "machine h password \"x\"@", "v", "right before this value");
    refuses(netrc, "machine h password @x", "v", "follows a closing quote");
    refuses(netrc, "machine h password \"@", "v", "not closed");
    refuses(netrc, "machine h password \"@\n\"", "v", "not closed");
    refuses(netrc, "machine \"h\npassword @", "v", "not closed");
    refuses(netrc, "machine h password \"\\@\"", "n", "would take its first character in");
    refuses(netrc, "# @", "v", "where a comment ends");
    refuses(netrc, "macdef m\n\nmachine h login @", "v", "a macro");
    refuses(netrc, "machine h password @", &"v".repeat(4094), "4 KiB");
}

const YAML: Format = Format::Yaml;

#[test]
fn yaml_quotes_what_a_value_stands_in() {
    writes(YAML, "k: @", "yes", "k: \"yes\"");
    writes(YAML, "k: x@y  # c\n", "'\"\\ é😀", "k: \"x'\\\"\\\\ \\u00e9\\U0001f600y\"  # c\n");
    writes(YAML, "k: '@''s'", "a", "k: \"a's\"");
    writes(YAML, "k: \"@ \\u0041\"", " a\n", "k: \"\\u0020a\\n \\u0041\"");
    writes(YAML, "- @: @\n? @\n: -@", "v", "- \"v\": \"v\"\n? \"v\"\n: \"-v\"");
    writes(YAML, "[@, {@ : '@'}, x]", ",", "[\",\", {\",\" : \",\"}, x]");
    writes(YAML, "a: it's \"x\nb: @", "v", "a: it's \"x\nb: \"v\"");
    writes(
        YAML,
        "%YAML 1.2\n---\n<<: *base\nb: &x !t @ # @",
        "v",
        "%YAML 1.2\n---\n<<: *base\nb: &x !t \"v\" # v",
    );
}

#[test]
fn yaml_leaves_text_as_it_is() {
    let text = "# it's\n--- |2-  # c\n   x\n---\n- 'a''\n b' : \"\\\"\n\"\n- ? [a, {b: c}]\n  : d #e\n- -x :y\n...\nz:";
    writes(YAML, text, "", text);
}

#[test]
fn yaml_indents_in_blocks_or_refuses() {
    writes(YAML, "k: |\n\n  a @\n  b\nl: @", "x\n\ny", "k: |\n\n  a x\n\n  y\n  b\nl: \"x\\n\\ny\"");
    writes(YAML, "k: |\n  @\nl: 1", "x\n", "k: |\n  x\n\nl: 1");
    writes(YAML, "- |\n  @@\n", "x\n", "- |\n  x\n  x\n\n");
    writes(YAML, "k: |\n  a\nl: |-\n @", "it's", "k: |\n  a\nl: |-\n it's");
    writes(YAML, "k: |\n@: 1", "l", "k: |\n\"l\": 1");
    refuses(YAML, "k: |-\n  @\n", "x\n", "line breaks that the block");
    refuses(YAML, "k: |\n  @\n", "x\n\n", "line breaks that the block");
    refuses(YAML, "k: >\n  @\n", "x\ny", "turns into a blank");
    refuses(YAML, "k: |\n  @\n", " x", "begins with a blank");
    refuses(YAML, "k: |\n  @\n", "", "is empty");
    refuses(YAML, "k: |\n  a@\n", "\r", "no block can carry");
    refuses(YAML, "k: |\n  a@\n", "\u{2028}", "no block can carry");
    refuses(YAML, "--- |\na@\n", "\n---\n", "the whole document");
    refuses(YAML, "--- |2\n  a@\n", "x", "the whole document");
    refuses(YAML, "k: | # @\n", "x", "beside the `|`");
}

#[test]
fn yaml_refuses_what_it_cannot_follow() {
    refuses(YAML, "k: a\n  @", "v", "the line above");
    refuses(YAML, "k: a\n  \"b\n  @\"", "v", "the line above");
    refuses(YAML, "[a\n@]", "v", "the line above");
    refuses(YAML, "k: \"a\n  @\"", "v", "several lines");
    refuses(YAML, "k: '@\n  a'", "v", "several lines");
    refuses(YAML, "k: \"a\" @", "v", "a text that has ended");
    refuses(YAML, "k: 'a'@", "v", "a text that has ended");
    refuses(YAML, "k: '@", "v", "never closed");
    refuses(YAML, "k: \"\\@\"", "n", "escape sequence");
    refuses(YAML, "k: \"\\u00@\"", "41", "escape sequence");
    refuses(YAML, "k: !@ x", "v", "a tag, an anchor");
    refuses(YAML, "k: *@", "v", "a tag, an anchor");
    refuses(YAML, "k: %@", "v", "YAML reserves");
    refuses(YAML, "%@", "v", "YAML reserves");
    refuses(YAML, "# @", "a\nb: c", "its comment");
    refuses(YAML, "a: b\u{2028}c: @", "v", "only some readers");
    refuses(YAML, "a: b\rc: @", "v", "only some readers");
}

#[test]
fn yaml_takes_documents_and_numbers_bare() {
    let write = |text: &str, value: Emitted<'_>| {
        let mut out = Output::new(1 << 20);
        let mut encoder = encoder(YAML, 1 << 20);
        let (before, after) = text.split_once('@').unwrap();
        encoder.text(before.as_bytes(), &mut out)?;
        encoder.value(value, Span::new(0, 0), &mut out)?;
        encoder.text(after.as_bytes(), &mut out)?;
        encoder.finish(&mut out).map(|()| String::from_utf8(out.bytes().to_vec()).unwrap())
    };
    let json = Emitted::Json("{\"a\":[\"é\",1]}".as_bytes());
    assert_eq!(write("k: @ # c", json).unwrap(), "k: {\"a\":[\"\\u00e9\",1]} # c");
    assert_eq!(write("k: [@]", Emitted::Bare("80")).unwrap(), "k: [80]");
    assert_eq!(write("k: @x", Emitted::Bare("80")).unwrap(), "k: \"80x\"");
    assert_eq!(write("k: \"@\"", Emitted::Bare("80")).unwrap(), "k: \"80\"");
    assert_eq!(write("k: @", Emitted::Quoted(b"80")).unwrap(), "k: \"80\"");
    assert!(write("k: '@'", Emitted::Quoted(b"80")).is_err());
}
