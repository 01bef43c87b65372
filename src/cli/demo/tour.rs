//! What is shown once the mount answers: real programs read, a secret changes, a child gets its
//! environment, and the disk holds nothing.

use super::random;
use crate::cli::exit;
use crate::cli::report::Failure;

use super::stage::Stage;

/// A program and how it reads one of our files; what it prints ends with a value from the store.
struct Reading {
    program: &'static str,
    command: &'static str,
    /// The secret that it must have read; none if its exit status tells.
    secret: &'static str,
}

const READINGS: &[Reading] = &[
    Reading {
        program: "sh",
        command: r#". mnt/app/.env && echo "$DATABASE_PASSWORD""#,
        secret: "db.password",
    },
    Reading {
        program: "python3",
        command: r#"python3 -c 'import json; print(json.load(open("mnt/app/config.json"))["database"]["password"])'"#,
        secret: "db.password",
    },
    Reading {
        program: "node",
        command: "node --env-file=mnt/quickstart/app.env -p process.env.DATABASE_PASSWORD",
        secret: "db.password",
    },
    Reading { program: "jq", command: "jq -r .database.password mnt/app/config.json", secret: "db.password" },
    Reading {
        program: "git",
        command: "printf 'url=https://git.example.com\\n\\n' | git -c credential.helper= \
                  -c 'credential.helper=store --file mnt/app/git-credentials' credential fill | tail -1",
        secret: "git.password",
    },
    Reading {
        program: "openssl",
        command: "openssl pkey -in mnt/app/key.pem -noout -text | head -1",
        secret: "",
    },
];

pub(super) fn run(stage: &Stage) -> Result<(), Failure> {
    look(stage)?;
    read(stage)?;
    rotate(stage)?;
    inject(stage)?;
    fail(stage)?;
    search_the_disk(stage)
}

/// What the store says, without a line in the tour: what the programs read is held against it.
fn value(stage: &Stage, name: &str) -> Result<String, Failure> {
    let output = stage.quietly(&format!("secretfs get {name}"), "")?;
    if !output.status.success() {
        return Err(super::failed("secretfs get", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn look(stage: &Stage) -> Result<(), Failure> {
    stage.run("ls -lA mnt/app")?;
    stage.run("cat templates/config.json.tpl")?;
    stage.run("cat mnt/app/config.json")?;
    Ok(())
}

fn read(stage: &Stage) -> Result<(), Failure> {
    stage.title("Programs read them as files, each in its own format");
    let (here, absent): (Vec<_>, Vec<_>) =
        READINGS.iter().partition(|reading| is_usable(stage, reading.program));
    for reading in here {
        let output = stage.run(reading.command)?;
        if !reading.secret.is_empty() {
            expect(&output, &value(stage, reading.secret)?, reading.program)?;
        }
    }
    if !absent.is_empty() {
        let names: Vec<_> = absent.iter().map(|reading| reading.program).collect();
        stage.say(&format!("(not on this machine: {})", names.join(", ")));
    }
    Ok(())
}

/// An older node has no `--env-file`.
fn is_usable(stage: &Stage, program: &str) -> bool {
    let knows =
        || stage.quietly("node --env-file=/dev/null -e 0", "").is_ok_and(|output| output.status.success());
    stage.has(program) && (program != "node" || knows())
}

fn expect(output: &str, value: &str, who: &str) -> Result<(), Failure> {
    if output.trim_end().ends_with(value) {
        return Ok(());
    }
    Err(Failure::new(
        exit::SOFTWARE,
        format!("the demo stops: {who} read something else than the store holds"),
    ))
}

fn rotate(stage: &Stage) -> Result<(), Failure> {
    stage.title("A secret changes; the next read is new");
    let password = format!("n3w 'p@ss' {}", random()?);
    let rotate = "secretfs rotate db --field password=-";
    stage.run_with(&format!("{rotate} < new-password"), rotate, &password)?;
    let output = stage.run(READINGS[0].command)?;
    expect(&output, &password, "sh")
}

fn inject(stage: &Stage) -> Result<(), Failure> {
    stage.title("A child's environment");
    let output = stage
        .run("secretfs exec --env DB_PASSWORD=db.password -- sh -c 'echo \"the child has $DB_PASSWORD\"'")?;
    expect(&output, &value(stage, "db.password")?, "the child")
}

fn fail(stage: &Stage) -> Result<(), Failure> {
    stage.title("What is missing is an error, never an empty value");
    stage.run_failing("secretfs exec --env A=db.pasword --env B=api_keys -- echo started")?;
    stage.write("templates/broken.env.tpl", "KEY=<< secrets.no_such_key >>\n")?;
    stage.run_failing("cat mnt/app/broken.env")?;
    if stage.has("getfattr") {
        stage.run("getfattr --only-values -n user.secretfs.error mnt/app/broken.env")?;
    }
    stage.run_failing("echo x > mnt/app/.env")
}

fn search_the_disk(stage: &Stage) -> Result<(), Failure> {
    stage.title("What lies on the disk");
    stage.run("ls -lA store")?;
    stage.run("tail -c 4096 store/store.db | od -A d -t x1z | tail -4")?;
    let values =
        "for name in db.password@1 db.password@2 api_key git.password; do secretfs get $name; echo; done";
    stage.run(&format!("{values} |\n    grep -raF -f - store || echo 'not one of them is there'"))?;
    // A search that finds nothing proves something only if it can find.
    stage.run("echo 'SQLite format 3' | grep -raFl -f - store")?;
    Ok(())
}
