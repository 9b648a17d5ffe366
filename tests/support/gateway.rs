//! A client of etcd's JSON gateway, independent of the component's.

use std::{collections::BTreeMap, time::Duration};

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::http;

/// A raw client; what goes wrong panics.
#[derive(Clone, Debug)]
pub struct Gateway {
    base: String,
    http: reqwest::Client,
    token: Option<String>,
}

/// All keys below a prefix, as they were at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The revision of the whole store.
    pub revision: i64,
    /// Key to value and what etcd keeps of it.
    pub entries: BTreeMap<String, Stored>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The octets.
    pub value: Vec<u8>,
    /// The revision of its last write.
    pub mod_revision: i64,
    /// How often it was written.
    pub version: i64,
    /// Its lease; 0: none.
    pub lease: i64,
}

impl Stored {
    /// The value as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }

    /// The value as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.value).unwrap_or_else(|error| panic!("{:?} is not JSON: {error}", self.text()))
    }
}

impl Tree {
    /// Key to value, without what etcd keeps of it.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.entries.iter().map(|(key, stored)| (key.clone(), stored.text())).collect()
    }

    /// Key to value as JSON.
    pub fn json(&self) -> BTreeMap<String, Value> {
        self.entries.iter().map(|(key, stored)| (key.clone(), stored.json())).collect()
    }

    /// The keys.
    pub fn keys(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Gateway {
    /// A client of the gateway at `base`, `http://host:port`.
    pub fn new(base: &str) -> Self {
        let http =
            http::builder().timeout(Duration::from_secs(30)).build().expect("an HTTP client without TLS can be made");
        Self { base: base.to_owned(), http, token: None }
    }

    /// The same for somebody whom etcd knows by a token.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// Whether the server answers at all, be it that it wants to know who asks.
    pub async fn is_up(&self) -> bool {
        let asked = self.try_call("kv/range", &json!({"key": BASE64.encode(b"/")})).await;
        asked.is_ok() || asked.is_err_and(|why| why.contains("user name is empty"))
    }

    /// Whether the server takes a linearizable read.
    pub async fn is_ready(&self) -> bool {
        self.try_call("kv/range", &json!({"key": BASE64.encode(b"/")})).await.is_ok()
    }

    /// Writes one key.
    pub async fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        self.call("kv/put", &json!({"key": b64(key), "value": BASE64.encode(value.as_ref())})).await;
    }

    /// Writes one key that lives no longer than a lease.
    pub async fn put_leased(&self, key: &str, value: impl AsRef<[u8]>, lease: &str) {
        let body = json!({"key": b64(key), "value": BASE64.encode(value.as_ref()), "lease": lease});
        self.call("kv/put", &body).await;
    }

    /// Grants a lease and returns its id.
    pub async fn grant(&self, seconds: u64) -> String {
        let answer = self.call("lease/grant", &json!({"TTL": seconds.to_string()})).await;
        answer["ID"].as_str().expect("a lease has an id").to_owned()
    }

    /// Deletes one key.
    pub async fn delete(&self, key: &str) {
        self.call("kv/deleterange", &json!({"key": b64(key)})).await;
    }

    /// Deletes every key that begins with `prefix`.
    pub async fn delete_below(&self, prefix: &str) {
        self.call("kv/deleterange", &json!({"key": b64(prefix), "range_end": range_end(prefix)})).await;
    }

    /// Posts a body to a path below `/v3/`, whatever it may be.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.call(path, body).await
    }

    /// Posts it; what goes wrong is the status and the text.
    ///
    /// # Errors
    ///
    /// Etcd did not answer, or refused.
    pub async fn try_post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.try_call(path, body).await
    }

    /// Runs a transaction as it stands.
    pub async fn txn(&self, body: &Value) -> Value {
        self.call("kv/txn", body).await
    }

    /// Writes all of these keys, in transactions of a hundred.
    pub async fn put_all(&self, entries: &[(String, Vec<u8>)]) {
        for chunk in entries.chunks(100) {
            let puts: Vec<Value> = chunk
                .iter()
                .map(|(key, value)| json!({"request_put": {"key": b64(key), "value": BASE64.encode(value)}}))
                .collect();
            self.txn(&json!({"success": puts})).await;
        }
    }

    /// Everything below a prefix.
    pub async fn tree(&self, prefix: &str) -> Tree {
        // The least key of all, for there is no empty one.
        let key = if prefix.is_empty() { "\0" } else { prefix };
        let answer = self.call("kv/range", &json!({"key": b64(key), "range_end": range_end(prefix)})).await;
        let entries = answer["kvs"].as_array().into_iter().flatten().map(|kv| {
            let key = String::from_utf8(octets(&kv["key"])).expect("our keys are text");
            let stored = Stored {
                value: octets(&kv["value"]),
                mod_revision: number(&kv["mod_revision"]),
                version: number(&kv["version"]),
                lease: number(&kv["lease"]),
            };
            (key, stored)
        });
        Tree { revision: number(&answer["header"]["revision"]), entries: entries.collect() }
    }

    /// Every key of the store.
    pub async fn everything(&self) -> Tree {
        self.tree("").await
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        self.try_call(path, body).await.unwrap_or_else(|error| panic!("etcd, {path} {body}: {error}"))
    }

    async fn try_call(&self, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}/v3/{path}", self.base);
        let mut request = self.http.post(url).json(body);
        if let Some(token) = &self.token {
            request = request.header("Authorization", token);
        }
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
        if !status.is_success() {
            return Err(format!("{status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }
}

fn b64(key: &str) -> String {
    BASE64.encode(key.as_bytes())
}

/// The end of the range of what begins with `prefix`; for the empty prefix, of everything.
pub(crate) fn range_end(prefix: &str) -> String {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    BASE64.encode(&end)
}

fn octets(value: &Value) -> Vec<u8> {
    BASE64.decode(value.as_str().unwrap_or_default().as_bytes()).expect("etcd sends base64")
}

/// Absent is zero; 64-bit numbers come as text.
fn number(value: &Value) -> i64 {
    match value {
        Value::String(text) => text.parse().expect("a number"),
        other => other.as_i64().unwrap_or_default(),
    }
}
