//! Templates that want to harm, in Jinja's own syntax: work, memory, depth, what they may not see. Of the
//! secrets they name, `large` has 1 MiB and `n` 9,000 lines.

/// None of them may be rendered.
pub fn templates() -> Vec<String> {
    let deep = |open: &str, close: &str| {
        format!("{{{{ {}secrets.v{} }}}}", open.repeat(100_000), close.repeat(100_000))
    };
    let blocks = |open: &str, close: &str| open.repeat(5_000) + &close.repeat(5_000);
    let doubled = format!("{{{{ secrets.large{} }}}}", " ~ secrets.large".repeat(100));
    let nested = "{% for a in secrets.n | lines %}".repeat(4) + "x" + &"{% endfor %}".repeat(4);
    vec![
        "{% set s = 'x' %}{% for i in range(40) %}{% set s = s ~ s %}{% endfor %}{{ s }}".to_owned(),
        "{{ '%0999999999d' | format(1) }}".to_owned(),
        "{{ 'a' * 1000000000 }}".to_owned(),
        "{{ 'a' ** 9 }}".to_owned(),
        "{{ secrets.large | indent(1000000000) }}".to_owned(),
        "{{ secrets.v | indent(-1) }}".to_owned(),
        "{{ secrets.large | replace('x', 'xxxxxxxxxxxxxxxxxxxxxxx') }}".to_owned(),
        "{{ secrets.large | batch(1000000000) }}".to_owned(),
        "{{ secrets.large | slice(1000000000) }}".to_owned(),
        "{% for i in range(1000000000) %}x{% endfor %}".to_owned(),
        "{{ range(1000000000) | join }}".to_owned(),
        nested,
        "{% for a in secrets.n | lines %}{{ secrets.large | b64encode | hash('sha512') }}{% endfor %}"
            .to_owned(),
        "{% for a in secrets.n | lines %}{{ a | bcrypt(12) }}{% endfor %}".to_owned(),
        "{% for a in secrets.n | lines %}{{ secrets.large }}{% endfor %}".to_owned(),
        "{% for a in secrets.n | lines %}{% if secrets.large == secrets.large %}{% endif %}{% endfor %}"
            .to_owned(),
        "{% for a in secrets.n | lines %}{% if 'y' in secrets.large %}{% endif %}{% endfor %}".to_owned(),
        doubled,
        "{{ secrets.large | split('x') | join(secrets.large) }}".to_owned(),
        "{{ secrets.n | lines | join(secrets.large) }}".to_owned(),
        deep("(", ")"),
        deep("[", "]"),
        deep("not ", ""),
        deep("-", ""),
        format!("{{{{ secrets.v{} }}}}", " | trim".repeat(20_000)),
        format!("{{{{ secrets.v{} }}}}", " if 1 else 2".repeat(20_000)),
        format!("{{{{ (secrets.v | from_json){} }}}}", ".a".repeat(50_000)),
        format!("{{{{ [{}] | join }}}}", "1,".repeat(100_000)),
        blocks("{% if 1 %}", "{% endif %}"),
        blocks("{% for a in [1, 2] %}", "{% endfor %}"),
        "{{ secrets }}".to_owned(),
        "{{ secrets | list }}".to_owned(),
        "{{ secrets | tojson }}".to_owned(),
        "{{ secrets | dictsort }}".to_owned(),
        "{{ secrets | items }}".to_owned(),
        "{{ debug() }}".to_owned(),
        "{{ self }}{{ super() }}{{ caller() }}".to_owned(),
        "{{ ''.__class__.__mro__ }}".to_owned(),
        "{% include '/etc/passwd' %}".to_owned(),
        "{% extends 'x' %}".to_owned(),
        "{{ secrets.v".to_owned(),
        "{% if".to_owned(),
        "{# never".to_owned(),
        "{{ 'never".to_owned(),
        "{% raw %}".to_owned(),
        "{{".repeat(128 * 1024),
        "{% raw %}{%".repeat(20_000),
        "{{ secrets.gone }}".repeat(14_000),
        "{{ secrets.v | raw }}".repeat(12_000) + "{{ secrets.gone }}",
        "{{ secrets.large }}".repeat(13_000),
        format!("{{{{ {}secrets.gone }}}}", "not ".repeat(127)),
        format!("{{{{ secrets.gone{} }}}}", " if 1 else 2".repeat(60)),
        "{% if 1 %}".repeat(40) + &"{% elif 1 %}".repeat(2000) + &"{% endif %}".repeat(40),
        "{{ secrets.v is none(secrets.gone) }}".to_owned(),
        "{{ \u{0} }}".to_owned(),
        "{{ \u{202e}secrets.v }}".to_owned(),
    ]
}
