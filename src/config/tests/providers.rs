//! What is said of providers, and what may not be.

use super::*;

#[test]
fn a_program_is_a_provider_with_limits_and_a_memory() {
    let config = parse(
        "providers:\n  p: {type: exec, command: [./get, -x], timeout: 2s, requests_per_second: 5, cache: {max_stale: 1h, size: 1MiB}}\n  \
         q: {type: exec, command: [get], fields: json, not_found_status: 1, cache: {no_cache: [otp]}}\n",
    );
    let config = config.unwrap();
    let remote = |name: &str| match &config.providers[name] {
        ProviderConfig::Remote(remote) => (**remote).clone(),
        other => panic!("{other:?}"),
    };
    let Remote { source: RemoteSource::Exec(program), limits, keeping } = remote("p") else { panic!() };
    assert_eq!(program.command, ["/etc/app/get", "-x"]);
    assert_eq!((program.prints_json, program.not_found_status), (false, Some(44)));
    assert_eq!((limits.timeout, limits.concurrency), (Duration::from_secs(2), 16));
    assert_eq!((limits.per_second, limits.batch), (Some(5), None));
    assert_eq!((keeping.max_stale, keeping.size), (Some(Duration::from_secs(3_600)), 1 << 20));
    assert_eq!(keeping.ttl, Keeping::default().ttl);
    let Remote { source: RemoteSource::Exec(program), keeping, .. } = remote("q") else { panic!() };
    assert_eq!(program.command, ["get"], "looked for where programs are");
    assert_eq!((program.prints_json, program.not_found_status), (true, Some(1)));
    assert!(keeping.max_stale.is_none() && keeping.no_cache.contains("otp"));
    let summons = |command: &str| {
        parse(&format!("providers: {{s: {{type: exec, protocol: summon, command: {command}}}}}"))
    };
    let config = summons("[summon-conjur]").unwrap();
    let ProviderConfig::Remote(remote) = &config.providers["s"] else { panic!() };
    let RemoteSource::Exec(program) = &remote.source else { panic!() };
    assert_eq!((program.is_of_summon, program.not_found_status), (true, None));
    assert!(summons("[summon-conjur, '/{path}']").is_ok());
    for command in ["[summon-conjur, -v]", "[summon-conjur, -v, '{path}']", "[]"] {
        assert!(summons(command).is_err_and(|error| error.to_string().contains("command")), "{command}");
    }
}

#[test]
fn settings_that_a_provider_does_not_take_are_located() {
    for (text, says) in [
        ("providers:\n  p: {type: exec}\n", "2:13: the type exec needs a `command`"),
        ("providers:\n  p: {type: env, command: [a]}\n", "2:27: a provider of this type takes no `command`"),
        ("providers:\n  p: {type: exec, command: [a], cache: {tll: 1s}}\n", "unknown key `tll`\n"),
        (
            "providers:\n  p: {type: exec, command: [a], cache: {size: 5}}\n",
            "2:47: providers.p.cache.size: `5` is not a size like",
        ),
        ("providers:\n  p: {type: exce, command: [a]}\n", "did you mean `exec`?"),
        ("providers:\n  p: {type: file}\n", "2:13: the type file needs a `path`"),
        ("providers:\n  p: {type: multi}\n", "2:13: the type multi needs `of`"),
        ("providers:\n  p: {type: multi, of: [stor]}\n", "2:25: no provider is named `stor`"),
        ("providers:\n  p: {type: multi, of: [p]}\n", "2:25: `p` is itself made of several"),
        ("providers:\n  p: {type: multi, of: [env, env]}\n", "2:30: `env` is named twice"),
        ("providers:\n  p: {type: multi, of: [env], strategy: merged}\n", "did you mean `merge`?"),
        ("providers:\n  p: {type: exec, command: [a], batch_size: 2}\n", "takes no `batch_size`"),
        ("providers:\n  p: {type: exec, command: [a], tls: {cert: c}}\n", "takes no `tls`"),
        ("providers:\n  p: {type: exec, command: [a], tls: {certt: c}}\n", "did you mean `cert`?"),
        ("providers:\n  p: {type: exec, command: [a], tls: {verify: false}}\n", "unknown key `verify`"),
        ("providers:\n  p: {type: exec, command: [a], adress: x}\n", "did you mean `address`?"),
        (
            "providers:\n  p: {type: vault, address: 'https://v:8200', auth: {token: '${T}'}, give_back_after: 1m}\n",
            "2:87: it must be at least twice `cache.ttl`",
        ),
        (
            "providers:\n  p: {type: exec, command: [a], address: 'http://vault:8200'}\n",
            "2:42: providers.p.address: `http://vault:8200` would send secrets in the clear",
        ),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(says), "{text}: {refusal}");
    }
}

/// The line would show it.
#[test]
fn a_secret_in_the_place_of_its_place_is_not_shown() {
    let shown = refusal("providers:\n  p: {type: vault, auth: {token: 31337}}\n");
    assert!(shown.contains("2:34") && !shown.contains("31337"), "{shown}");
    let control = refusal("providers:\n  p: {type: file, path: x, strategy: 31337}\n");
    assert!(control.contains("31337"), "{control}");
}
