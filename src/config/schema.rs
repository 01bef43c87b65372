//! The config's JSON Schema, for editors: made from the types that read it (`raw`), with what a
//! scalar may look like. Says no more than the parser, and less where it takes more than one key to judge.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::credential::{CredentialMap, CredentialName, RawCredential};
use super::metadata::Metadata;
use super::provider::{Datum, Method, ProviderType, SecretSource, Strategy, TextSource, WritePath};
use super::raw::{Root, Store, StoreMap};
use super::reaction::{Argument, Signal, Unit, Watch};
use super::rules::scalar::{
    CgroupPattern, GroupName, Id, ProgramPath, SecretPattern, Sha256, UnitPattern, UserName,
};
use super::rules::{ANYONE, Exe, ExeMap, Many, MatcherMap, OneOfThem};
use super::scalar::{
    AwsAccount, Bytes, Count, FieldsForm, FilePath, KeySource, Label, Loopback, Mode, Protocol,
    ReferenceText, Status, Variable,
};
use super::transport::{Address, Pin, ServerName, TlsVersion};
use super::word::{Given, Scalar, Table, Word};
use super::{Account, StoreBackend};
use crate::policy::{Action, Door, Pattern};
use crate::secret::{Namespace, SecretName};
use crate::template::{Dialect, Format, Syntax};

/// The schema (draft 2020-12) of a config file.
pub fn schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Root>();
    schema.insert("title".to_owned(), "The config of secretfs".into());
    schema.insert(
        "description".to_owned(),
        "secretfs.yaml: the store, what is mounted, and who gets what".into(),
    );
    schema.to_value()
}

/// What a scalar looks like.
trait Look: Scalar {
    fn look() -> Schema;
}

/// Text of this form; YAML reads digits without quotes as a number, which is fine.
fn text(pattern: &str) -> Schema {
    json_schema!({"type": ["string", "integer"], "minimum": 0, "pattern": pattern})
}

fn one_of(names: impl IntoIterator<Item = &'static str>) -> Schema {
    json_schema!({"enum": Vec::from_iter(names)})
}

macro_rules! looks {
    ($($name:ty: $look:expr;)*) => {$(
        impl Look for $name {
            fn look() -> Schema {
                $look
            }
        }
    )*};
}
looks! {
    Format: one_of(Format::names());
    Dialect: one_of(Dialect::names());
    Syntax: one_of(Syntax::names());
    ProviderType: one_of(ProviderType::ALL.map(|(name, _)| name));
    Method: one_of(Method::ALL.map(|(name, _)| name));
    TextSource: json_schema!({"type": ["string", "integer"], "minimum": 0, "pattern": r"^(\$\{[A-Za-z0-9_]+\}|(?!\$\{)[^\u0000\n]+)$"});
    Strategy: one_of(Strategy::ALL.map(|(name, _)| name));
    SecretSource: json_schema!({
        "type": "string",
        "pattern": r"^(\$\{[A-Za-z0-9_]+\}|file:[^\u0000]+|credential:[^/\u0000]+|store:[^#@]+(#[A-Za-z_][A-Za-z0-9_.-]{0,63})?(@0*[1-9][0-9]*)?)$",
        "examples": ["${VAULT_TOKEN}", "file:/run/secrets/token"],
    });
    FieldsForm: one_of(FieldsForm::NAMES);
    Protocol: one_of(Protocol::NAMES);
    Count: json_schema!({"type": "integer", "minimum": 1, "maximum": Count::MOST});
    Status: json_schema!({"type": "integer", "minimum": 1, "maximum": u8::MAX});
    Bytes: json_schema!({"type": "string", "pattern": "^0*[1-9][0-9]* *[KMG]iB$", "examples": ["16MiB"]});
    Address: json_schema!({
        "type": "string",
        "pattern": r"^(https://|http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?(/|$))[^@?#]*$",
        "examples": ["https://vault.example.com:8200"],
    });
    Metadata: json_schema!({
        "type": "string",
        "pattern": r"^(https?://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])|http://(169\.254\.169\.254|\[fd00:ec2::254\]))(:[0-9]+)?(/|$)[^@?#]*$",
        "examples": ["http://169.254.169.254"],
    });
    Pin: json_schema!({"type": "string", "pattern": "^sha256/[A-Za-z0-9+/]{43}=$"});
    TlsVersion: one_of(TlsVersion::NAMES);
    ServerName: json_schema!({"type": "string", "pattern": r"^(\[?[0-9A-Fa-f:.]+\]?|[A-Za-z0-9._-]{1,253})$"});
    StoreBackend: one_of(StoreBackend::NAMES);
    KeySource: one_of(KeySource::NAMES);
    bool: json_schema!({"type": "boolean"});
    PathBuf: text(r"^[^\u0000]+$");
    Variable: text(r"^[^=\u0000]+$");
    CredentialName: text("^[!-.0-9;-~]{1,255}$");
    Label: text("^[A-Za-z0-9_-]+$");
    AwsAccount: text("^[0-9]{12}$");
    Argument: text(r"^[^\u0000]*$");
    Datum: json_schema!({"type": ["string", "integer", "boolean"], "minimum": 0});
    WritePath: path("^(?!([^/]+/)*(sys|auth|cubbyhole)/)[^#@]+/[^#@]+$", &[]);
    Loopback: json_schema!({
        "type": "string", "pattern": r"^(127(\.[0-9]{1,3}){3}|\[::1\]):[0-9]{1,5}$", "examples": ["127.0.0.1:9464"],
    });
    Signal: json_schema!({"type": "string", "pattern": format!("^(SIG)?({})$", Signal::NAMES.join("|")), "examples": ["HUP"]});
    Watch: json_schema!({
        "type": "string",
        "pattern": format!(
            "^({}|{}(SIG)?({}))$", Watch::NAMES.join("|"), Watch::SIGNAL, Signal::NAMES.join("|")
        ),
        "examples": ["restart", "signal:HUP"],
    });
    Unit: json_schema!({
        "type": "string",
        "pattern": format!(r"^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*({})$", Unit::SUFFIXES.join("|").replace('.', r"\.")),
        "examples": ["app.service"],
    });
    Action: one_of(Action::ALL.map(Action::name));
    Door: one_of(Door::RULED.map(Door::name));
    Pattern: pattern(&format!("[^{NO_SIGNS}]"), "stripe/*");
    SecretPattern: secret_pattern();
    CgroupPattern: pattern("[/*]", "/system.slice/*");
    UnitPattern: json_schema!({
        "type": "string",
        "pattern": format!(r"^(\*|[A-Za-z0-9:_.\\@*?][A-Za-z0-9:_.\\@*?-]*({}))$", UnitPattern::SUFFIXES.join("|").replace('.', r"\.")),
        "examples": ["app.service"],
    });
    Id: text("^[0-9]+$");
    UserName: json_schema!({"type": "string", "pattern": r"^(?!\d+$)[^*?:\u0000]+$"});
    GroupName: UserName::look();
    ProgramPath: json_schema!({"type": "string", "pattern": r"^/[^*?\u0000]*$", "not": {"pattern": r"/(\.\.?)?(/|$)"}});
    Sha256: json_schema!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"});
    Account: text("^.+$");
    Mode: json_schema!({"type": "string", "pattern": "^0?[0246]{3}$", "examples": ["0400", "0440"]});
    Duration: json_schema!({"type": "string", "pattern": "^0*[1-9][0-9]* *(ms|s|m|h)$", "examples": ["5s"]});
    SecretName: path("^[A-Za-z0-9_./-]{1,128}$", &[]);
    FilePath: path(r"^[^\u0000]+$", &[&format!("(^|/){}[^/]*$", Namespace::DEPLOY_FILES.replace('.', r"\."))]);
    ReferenceText: text("^([A-Za-z0-9_-]+:[^#@]+|[^:#@]+)(#[A-Za-z_][A-Za-z0-9_.-]{0,63})?(@0*[1-9][0-9]*)?$");
}

/// What no pattern has.
const NO_SIGNS: &str = r"\[\]{}\u0000-\u001f\u007f-\u009f";

/// Text with stars and question marks that begins like this.
fn pattern(begin: &str, example: &str) -> Schema {
    let fits = format!("^{begin}[^{NO_SIGNS}]*$");
    json_schema!({
        "type": ["string", "integer"], "minimum": 0, "pattern": fits,
        "not": {"type": "string", "pattern": r"\*\*"}, "examples": [example],
    })
}

/// A pattern without a field and a version behind it; a label may have anything.
fn secret_pattern() -> Schema {
    let fits = format!("^((label=|type=)[^{NO_SIGNS}]+|[^#{NO_SIGNS}]+)$");
    let refused = [r"\*\*", r"^[^=]*@[0-9]+$"].map(|it| json_schema!({"type": "string", "pattern": it}));
    json_schema!({
        "type": ["string", "integer"], "minimum": 0, "pattern": fits,
        "not": {"anyOf": refused}, "examples": ["stripe/*"],
    })
}

/// A relative path without empty, `.` and `..` parts, and without these.
fn path(pattern: &str, without: &[&str]) -> Schema {
    let refused = [r"(^|/)(\.\.?)?(/|$)"].iter().chain(without).map(|it| json_schema!({"pattern": it}));
    json_schema!({"type": "string", "pattern": pattern, "not": {"anyOf": Vec::from_iter(refused)}})
}

/// Types that are written out where they are used.
macro_rules! inline {
    ($([$($parameters:tt)*] $name:ty, $generator:ident => $schema:expr;)*) => {$(
        impl<$($parameters)*> JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}
inline! {
    [T: Look] Word<T>, _generator => T::look();
    [T: Look] Given<T>, _generator => T::look();
    [K: Look + Ord, V: JsonSchema] Table<K, V>, generator => json_schema!({
        "type": "object",
        "propertyNames": K::look(),
        "additionalProperties": generator.subschema_for::<V>(),
    });
    [T: JsonSchema] Many<T>, generator => {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
    };
    [] OneOfThem, generator => json_schema!({
        "anyOf": [{"const": ANYONE}, generator.subschema_for::<MatcherMap>()],
    });
    [] Exe, generator => json_schema!({
        "anyOf": [ProgramPath::look(), generator.subschema_for::<ExeMap>()],
    });
    [] RawCredential, generator => json_schema!({
        "anyOf": [ReferenceText::look(), generator.subschema_for::<CredentialMap>()],
    });
    [] Store, generator => json_schema!({
        "anyOf": [PathBuf::look(), generator.subschema_for::<StoreMap>()],
    });
}
