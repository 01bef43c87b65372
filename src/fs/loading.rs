//! Templates are loaded in turn: a disk that does not answer holds few threads, so that files
//! whose templates lie elsewhere, or are loaded already, are served meanwhile. Uses `source`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::SecretFs;
use super::source::{Loaded, Source};
use crate::provider::unhurried;

/// More threads than this would only wait for the same disk.
const TURNS: usize = 64;

/// The turns at each folder of templates: that it is one disk is as good a guess as any.
#[derive(Default)]
pub(super) struct Loading {
    /// Guards the table only.
    turns: Mutex<HashMap<Arc<Path>, Arc<Semaphore>>>,
}

impl SecretFs {
    /// What is loaded, looked at anew if something hints that it changed. Who waits holds no
    /// thread, however many want the same file.
    pub(super) async fn load(&self, source: &Source) -> Arc<Loaded> {
        if let Some(loaded) = source.ready() {
            return loaded;
        }
        let _file = source.turn().await;
        // Somebody may have loaded it for all.
        if let Some(loaded) = source.ready() {
            return loaded;
        }
        let disk = self.loading.at(source.folder());
        let _disk = disk.acquire().await;
        unhurried(|| source.load())
    }
}

impl Loading {
    fn at(&self, folder: &Arc<Path>) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().expect("nothing panics while it holds this");
        turns.entry(folder.clone()).or_insert_with(|| Arc::new(Semaphore::new(TURNS))).clone()
    }
}
