//! A provider that has nothing. Stands in for one that nobody has named in the config, so that
//! all else in a template can still be judged.

use super::constant::Constant;
use crate::secret::{Absent, Answer, SecretKey};

pub struct Nowhere;

impl Constant for Nowhere {
    fn answer(&self, _key: &SecretKey) -> Answer {
        Err(Absent::Missing)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
