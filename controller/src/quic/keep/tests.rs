//! One Secret, and who else writes it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::Resource as _;

use super::*;
use crate::quic::kept::ROTATE;
use crate::quic::plan::Seen;

/// What an API server would have, with the number of writes.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<(Option<Secret>, u64)>>);

impl Server {
    fn write(&self, secret: &Secret, fits: impl FnOnce(Option<&Secret>) -> bool) -> Result<Secret, StoreError> {
        let (held, version) = &mut *self.0.lock().unwrap();
        if !fits(held.as_ref()) {
            return Err(StoreError::Conflict);
        }
        *version += 1;
        let mut secret = secret.clone();
        secret.meta_mut().resource_version = Some(version.to_string());
        *held = Some(secret.clone());
        Ok(secret)
    }

    fn secret(&self) -> Secret {
        self.0.lock().unwrap().0.clone().unwrap()
    }

    fn writes(&self) -> u64 {
        self.0.lock().unwrap().1
    }

    /// Somebody else changes it.
    fn edit(&self, change: impl FnOnce(&mut Secret)) {
        let mut secret = self.secret();
        change(&mut secret);
        self.write(&secret, |_| true).unwrap();
    }
}

impl Store<Secret> for Server {
    async fn read(&self) -> Result<Option<Secret>, StoreError> {
        Ok(self.0.lock().unwrap().0.clone())
    }

    async fn create(&self, secret: &Secret) -> Result<Secret, StoreError> {
        self.write(secret, |held| held.is_none())
    }

    async fn replace(&self, secret: &Secret) -> Result<Secret, StoreError> {
        let version = secret.resource_version();
        self.write(secret, |held| held.is_some_and(|held| held.resource_version() == version))
    }
}

fn pods(names: &[&str]) -> BTreeMap<String, Seen> {
    let address = Some("10.0.0.1".parse().unwrap());
    let seen = |name: &str| Seen { name: name.to_owned(), address, is_terminating: false, has_ended: false };
    names.iter().map(|name| (format!("uid-{name}"), seen(name))).collect()
}

async fn tend(keeper: &mut Keeper<Server>, names: &[&str]) -> Tended {
    let (seen, told) = (pods(names), BTreeMap::new());
    let situation = Situation { seen: &seen, told: &told, asked: None, period: None, now: Timestamp::UNIX_EPOCH };
    let mut drawn = 0;
    let mut draw = |octets: &mut [u8]| {
        drawn += 1;
        octets.fill(drawn);
    };
    keeper.tend(situation, &mut draw).await.unwrap()
}

fn server_ids(tended: &Tended) -> BTreeMap<String, String> {
    tended.planned.kept.pods.values().map(|pod| (pod.name.clone(), pod.server_id.clone())).collect()
}

#[tokio::test]
async fn what_is_answered_was_written() {
    let server = Server::default();
    let mut keeper = Keeper::new("default", server.clone());
    let tended = tend(&mut keeper, &["a"]).await;
    assert!(tended.is_new);
    let secret = server.secret();
    assert_eq!(Kept::read(&secret).unwrap().unwrap(), tended.planned.kept);
    assert_eq!(secret.metadata.labels.unwrap()["headrace.dev/pod-set"], "default");
    let again = tend(&mut keeper, &["a"]).await;
    assert!(!again.is_new);
    assert_eq!(
        (again.planned.kept == tended.planned.kept, server.writes()),
        (true, 1),
        "nothing is written for nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn two_leaders_at_once_give_no_server_id_twice() {
    let server = Server::default();
    let [mut one, mut other] = [0, 1].map(|_| Keeper::new("default", server.clone()));
    tend(&mut one, &["a"]).await;
    tend(&mut other, &["a"]).await;
    // Each sees another pod first.
    let first = server_ids(&tend(&mut one, &["a", "b"]).await);
    let second = tend(&mut other, &["a", "b", "c"]).await;
    assert!(second.is_new, "it began again with what the first had written");
    let second = server_ids(&second);
    assert_eq!(first["b"], second["b"]);
    assert_ne!(second["b"], second["c"]);
    let last = server_ids(&tend(&mut one, &["a", "b", "c"]).await);
    assert_eq!(last, second);
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_a_rotation_is_noticed_and_what_others_wrote_stays() {
    let server = Server::default();
    let mut keeper = Keeper::new("default", server.clone());
    let before = tend(&mut keeper, &[]).await.planned.kept;
    server.edit(|secret| {
        secret.metadata.annotations.get_or_insert_default().insert(ROTATE.to_owned(), "today".to_owned());
        secret.data.get_or_insert_default().insert("note".to_owned(), ByteString(b"mine".to_vec()));
    });
    assert!(!tend(&mut keeper, &[]).await.is_new, "it is read from time to time");
    tokio::time::advance(READ_FOR).await;
    let after = tend(&mut keeper, &[]).await.planned.kept;
    assert_eq!(after.obeyed.as_deref(), Some("today"));
    assert!(after.revision > before.revision);
    let data = server.secret().data.unwrap();
    assert_eq!(data["note"].0, b"mine");
    tokio::time::advance(READ_FOR).await;
    assert_eq!(tend(&mut keeper, &[]).await.planned.kept.obeyed, after.obeyed, "a word counts once");
}

#[tokio::test]
async fn what_cannot_be_used_is_made_anew() {
    for broken in ["", "{}", "{\"format\": 2}", "no JSON"] {
        let server = Server::default();
        tend(&mut Keeper::new("default", server.clone()), &["a"]).await;
        server.edit(|secret| {
            let data = secret.data.as_mut().unwrap();
            data.values_mut().for_each(|value| value.0 = broken.as_bytes().to_vec());
        });
        let tended = tend(&mut Keeper::new("default", server.clone()), &["a"]).await;
        assert!(tended.is_new, "{broken}");
        assert_eq!(Kept::read(&server.secret()).unwrap().unwrap(), tended.planned.kept);
    }
}
