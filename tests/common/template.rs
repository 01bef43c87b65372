//! Renders a template with given secrets, without a store or a mount.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use secretfs::nearest::nearest;
use secretfs::secret::{Answer, FieldName, SecretBytes, SecretKey, SecretType, SecretVersion};
use secretfs::template::{Format, Inputs, Options, Reader, Rendered, Template, TemplateError, Values};

pub enum Rendering {
    Done(Vec<u8>),
    Failed(TemplateError),
}

/// Each secret is plain: a name and its value.
pub fn render(text: &str, format: Format, secrets: &[(&str, &[u8])]) -> Rendering {
    let options = Options { format, ..Options::default() };
    let values = secrets.iter().map(|(name, value)| (SecretKey::named(name), secret(&[("value", value)])));
    render_with("template", text, options, &values.collect())
}

pub fn render_with(name: &str, text: &str, options: Options, values: &Values) -> Rendering {
    let reader = Reader { uid: 1000, gid: 100, exe: None, unit: Some("app.service".to_owned()) };
    let existing = || values.iter().filter(|(_, answer)| answer.is_ok()).map(|(key, _)| key);
    let inputs = Inputs {
        values,
        env: &|name| (name == "HOME").then(|| b"/home/app".to_vec()),
        reader: Some(&reader),
        salt: &[7; 32],
        nearest: &|name| nearest(name, existing().map(|key| key.path.clone())),
        elsewhere: &|_| None,
    };
    match Template::compile(name, text, options).and_then(|template| template.render(&inputs)) {
        Ok(Rendered::Done(bytes)) => Rendering::Done(bytes.expose().to_vec()),
        Ok(Rendered::Needs(keys)) => panic!("no answer was given for {keys:?}"),
        Err(error) => Rendering::Failed(error),
    }
}

pub fn secret(fields: &[(&str, &[u8])]) -> Answer {
    let field =
        |(name, value): &(&str, &[u8])| (FieldName::parse(name).unwrap(), SecretBytes::copy_of(value));
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    Ok(Arc::new(SecretVersion {
        turned_out: None,
        kind: SecretType::Custom,
        fields: fields.iter().map(field).collect::<BTreeMap<_, _>>(),
        version: 3,
        created_at: at,
        updated_at: at,
        expires_at: None,
        uses: None,
    }))
}
