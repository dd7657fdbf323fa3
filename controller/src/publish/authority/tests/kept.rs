//! Two replicas, one Secret and one ConfigMap. The API server is an object with a resourceVersion here; e2e has a real one.

use std::sync::Mutex;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource;

use super::super::keep::{Store, StoreError, agree};
use super::super::objects::{ROTATE, published, read_secret};
use super::*;

/// One object, which others may write between any two calls.
struct Kept<K>(Mutex<(Option<K>, u64)>);

impl<K> Kept<K> {
    fn with(object: Option<K>) -> Self {
        Kept(Mutex::new((object, 0)))
    }

    fn change(&self, change: impl FnOnce(&mut Option<K>)) {
        change(&mut self.0.lock().unwrap().0);
    }
}

impl<K: Resource + Clone + Send + Sync> Kept<K> {
    fn object(&self) -> Option<K> {
        self.0.lock().unwrap().0.clone()
    }

    fn write(&self, object: &K, fits: impl FnOnce(Option<&K>) -> bool) -> Result<K, StoreError> {
        let mut held = self.0.lock().unwrap();
        if !fits(held.0.as_ref()) {
            return Err(StoreError::Conflict);
        }
        held.1 += 1;
        let mut object = object.clone();
        object.meta_mut().resource_version = Some(held.1.to_string());
        held.0 = Some(object.clone());
        Ok(object)
    }
}

impl<K: Resource + Clone + Send + Sync> Store<K> for Kept<K> {
    async fn read(&self) -> Result<Option<K>, StoreError> {
        let object = self.object();
        tokio::task::yield_now().await;
        Ok(object)
    }

    async fn create(&self, object: &K) -> Result<K, StoreError> {
        tokio::task::yield_now().await;
        self.write(object, |held| held.is_none())
    }

    async fn replace(&self, object: &K) -> Result<K, StoreError> {
        tokio::task::yield_now().await;
        let version = object.meta().resource_version.clone();
        self.write(object, |held| held.is_some_and(|held| held.meta().resource_version == version))
    }
}

/// What somebody did to the Secret.
type Damage = fn(&mut Secret);

fn annotate(secret: &mut Option<Secret>, name: &str) {
    let secret = secret.as_mut().unwrap();
    secret.metadata.annotations.get_or_insert_default().insert(name.to_owned(), "please".to_owned());
}

#[tokio::test]
async fn replicas_that_start_at_once_agree() {
    // Also where a chart has made the objects, and left them empty.
    for (secret, config_map) in [(None, None), (Some(Secret::default()), Some(ConfigMap::default()))] {
        let (secrets, config_maps) = (Kept::with(secret), Kept::with(config_map));
        let replicas = (0..5).map(|_| agree(&secrets, &config_maps, start()));
        let agreed: Vec<_> = futures::future::join_all(replicas).await.into_iter().map(Result::unwrap).collect();
        assert!(agreed.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(read_secret(&secrets.object().unwrap()).unwrap().as_ref(), Some(&agreed[0]));
        let bundle = agreed[0].bundle();
        assert_eq!(published(&config_maps.object().unwrap(), &bundle), Some(start()));
    }
}

#[tokio::test]
async fn a_rotation_on_demand_goes_through_with_all_replicas_at_it() {
    let (secrets, config_maps) = (Kept::with(None), Kept::with(None));
    let first = agree(&secrets, &config_maps, start()).await.unwrap();
    let now = start() + SignedDuration::from_hours(1);
    secrets.change(|secret| annotate(secret, ROTATE));
    secrets.change(|secret| annotate(secret, "example.com/somebody-elses"));

    let mut signs = vec![first.current.clone()];
    // The kubelet's time has passed when the next CA signs, a day more when the first one is forgotten.
    for (minutes, trusted) in [(0, 2), (9, 2), (10, 2), (11, 2), (24 * 60 + 9, 2), (24 * 60 + 10, 1)] {
        let at = now + SignedDuration::from_mins(minutes);
        let replicas = (0..3).map(|_| agree(&secrets, &config_maps, at));
        let agreed: Vec<_> = futures::future::join_all(replicas).await.into_iter().map(Result::unwrap).collect();
        assert!(agreed.windows(2).all(|pair| pair[0] == pair[1]), "after {minutes} minutes");
        let bundle = agreed[0].bundle();
        assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), trusted, "after {minutes} minutes");
        assert!(published(&config_maps.object().unwrap(), &bundle).is_some(), "pods are told before anybody signs");
        if signs.last() != Some(&agreed[0].current) {
            assert!(minutes >= 10, "not after {minutes} minutes");
            signs.push(agreed[0].current.clone());
        }
    }
    assert_eq!(signs.len(), 2, "one request is one rotation");
    let annotations = secrets.object().unwrap().metadata.annotations.unwrap();
    assert!(!annotations.contains_key(ROTATE));
    assert!(annotations.contains_key("example.com/somebody-elses"));
}

#[tokio::test]
async fn what_cannot_be_used_is_made_anew() {
    let damages: [(&str, Damage); 3] = [
        ("a certificate that is none", |secret| {
            secret.data.as_mut().unwrap().insert("ca.crt".to_owned(), ByteString(b"none".to_vec()));
        }),
        ("another pair's key", |secret| {
            let key = Authority::make(start()).unwrap().key_pem().to_owned();
            secret.data.as_mut().unwrap().insert("ca.key".to_owned(), ByteString(key.into_bytes()));
        }),
        ("no key", |secret| drop(secret.data.as_mut().unwrap().remove("ca.key"))),
    ];
    for (why, damage) in damages {
        let (secrets, config_maps) = (Kept::with(None), Kept::with(None));
        let first = agree(&secrets, &config_maps, start()).await.unwrap();
        secrets.change(|secret| damage(secret.as_mut().unwrap()));
        let second = agree(&secrets, &config_maps, start()).await.unwrap();
        assert_ne!(first, second, "{why}");
        assert!(published(&config_maps.object().unwrap(), &second.bundle()).is_some(), "{why}");
    }
}

#[tokio::test]
async fn a_secret_that_was_deleted_is_no_longer_trusted() {
    let (secrets, config_maps) = (Kept::with(None), Kept::with(None));
    let first = agree(&secrets, &config_maps, start()).await.unwrap();
    secrets.change(|secret| drop(secret.take()));
    let second = agree(&secrets, &config_maps, start()).await.unwrap();
    assert!(published(&config_maps.object().unwrap(), &second.bundle()).is_some());
    let old = first.current.issue(NAME, start()).unwrap();
    assert!(!believes(&second.bundle(), &old, NAME, start()));
}

#[tokio::test]
async fn a_bundle_that_somebody_edited_is_put_right() {
    let (secrets, config_maps) = (Kept::with(None), Kept::with(None));
    let authorities = agree(&secrets, &config_maps, start()).await.unwrap();
    config_maps.change(|config_map| {
        let data = config_map.as_mut().unwrap().data.as_mut().unwrap();
        data.insert("ca.crt".to_owned(), "another".to_owned());
        data.insert("theirs".to_owned(), "stays".to_owned());
    });
    agree(&secrets, &config_maps, start() + SECOND).await.unwrap();
    let config_map = config_maps.object().unwrap();
    assert_eq!(published(&config_map, &authorities.bundle()), Some(start() + SECOND));
    assert_eq!(config_map.data.unwrap()["theirs"], "stays");
}
