//! From the operator's words to a [`DnsManager`], all of them checked at once.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use http::{Method, Uri};

use crate::{
    CallReport, DnsManager, Error, Handler, Limits, LinkMode, Secret, Tls,
    capability::{
        dial::System,
        http::Sender,
        login::{self, Login},
        policy::{Authority, Endpoint, Policy, Route, Rule, anywhere, never},
        resolver::Resolver,
    },
    load, runtime,
    runtime::Runtime,
    state::Lent,
    watch::Observer,
};

/// What a [`DnsManager`] is made of. Nothing is checked, read or looked up
/// before [`Builder::build`].
#[derive(Default)]
#[must_use]
pub struct Builder {
    component: Option<Component>,
    backend: Vec<String>,
    handler: Option<(String, Arc<dyn Handler>)>,
    rule: Option<Rule>,
    tls: Option<Tls>,
    credentials: Option<(String, Secret)>,
    nameservers: Vec<String>,
    settings: BTreeMap<String, String>,
    limits: Limits,
    link_mode: LinkMode,
    verify_wait: Option<Duration>,
    observer: Option<Observer>,
}

enum Component {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Builder {
    /// The component itself.
    pub fn component(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.component = Some(Component::Bytes(bytes.into()));
        self
    }

    /// The file that the component is in.
    pub fn component_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.component = Some(Component::File(path.into()));
        self
    }

    /// The base URLs of the members of one backend, `http://host:port` or, all
    /// of them, `https://host:port`.
    ///
    /// The plugin sees the first one, as the setting `url`, and addresses all
    /// requests to it. The host connects to the members in this order and
    /// fails over when one cannot be reached; one that failed, or kept a
    /// request without an answer, is left for last for 30 seconds. These may be private or loopback addresses, but never
    /// link-local ones, where clouds keep their metadata.
    pub fn backend(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.backend = urls.into_iter().map(Into::into).collect();
        self
    }

    /// A handler in this process in place of a backend, at `authority`
    /// (`host:port`, any name). The setting `url` becomes `http://authority`.
    pub fn backend_handler(mut self, authority: impl Into<String>, handler: Arc<dyn Handler>) -> Self {
        self.handler = Some((authority.into(), handler));
        self
    }

    /// What may be asked of the backend, by method and path without the query.
    /// Without a rule: everything but `CONNECT` and `TRACE`.
    ///
    /// ```
    /// let builder = dns_manager_host::DnsManager::builder()
    ///     .backend(["http://etcd:2379"])
    ///     .backend_rule(|method, path| method == http::Method::POST && path.starts_with("/v3/kv/"));
    /// ```
    pub fn backend_rule(mut self, rule: impl Fn(&Method, &str) -> bool + Send + Sync + 'static) -> Self {
        self.rule = Some(Arc::new(rule));
        self
    }

    /// Whom to trust and who we are, at a backend of `https` URLs. Without it,
    /// those are trusted that the operating system trusts.
    ///
    /// The certificate of a member must be for its host as it stands in the
    /// URL, whatever address that leads to.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The user and the password of a backend that wants them: etcd's.
    ///
    /// The host logs in when the first request is made, attaches the token to
    /// all of them, and renews it when the backend no longer knows it. The
    /// plugin sees nothing of it: it can neither set nor read the header
    /// `authorization`, nor ask for a path with `auth` in it.
    ///
    /// ```
    /// let builder = dns_manager_host::DnsManager::builder()
    ///     .backend(["https://etcd-1:2379", "https://etcd-2:2379"])
    ///     .credentials("dns", "open sesame");
    /// ```
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// The name servers that the plugin may ask, `host:port`: `127.0.0.1:53`,
    /// `[::1]:53`, `localhost:53`. Host names are looked up now and again
    /// after failures.
    pub fn nameservers(mut self, servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.nameservers = servers.into_iter().map(Into::into).collect();
        self
    }

    /// A setting that the plugin can read: `zones`, `ttl`, `owner`, or any of
    /// its own. One set here is preferred to the `url` of the backend.
    pub fn setting(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(key.into(), value.into());
        self
    }

    /// What the plugin may use.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What happens to imports of files and sockets.
    pub fn link_mode(mut self, mode: LinkMode) -> Self {
        self.link_mode = mode;
        self
    }

    /// How long [`DnsManager::verify_dns_resolution`] waits for all name
    /// servers to agree. 5 s.
    pub fn verify_wait(mut self, wait: Duration) -> Self {
        self.verify_wait = Some(wait);
        self
    }

    /// Who is told of each call of the plugin when it has ended, that of
    /// [`build`](Self::build) included.
    ///
    /// It is called on the thread that ended the call, which waits for it: to
    /// count is fine, to write to a disk or a network is not.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// static REFUSED: AtomicU64 = AtomicU64::new(0);
    ///
    /// let builder = dns_manager_host::DnsManager::builder().observer(|call| {
    ///     REFUSED.fetch_add(call.denials.http, Ordering::Relaxed);
    /// });
    /// ```
    pub fn observer(mut self, observer: impl Fn(&CallReport) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Checks everything, loads the component, and asks it what it is.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for what was given here, [`Error::Load`] for the
    /// component, [`Error::Contract`] and the limits' errors for what the
    /// plugin says of itself.
    pub async fn build(mut self) -> Result<DnsManager, Error> {
        self.limits.check().map_err(Error::Config)?;
        let policy = self.policy()?;
        let tls = match policy.endpoints.iter().any(|endpoint| endpoint.secure) {
            true => Some(self.tls.take().unwrap_or_default().ready().map_err(Error::Config)?),
            false if self.tls.is_some() => {
                return Err(Error::Config("TLS is configured, but the backend's URL is not https".to_owned()));
            }
            false => None,
        };
        let login = self.credentials.take().map(|(user, password)| Login::new(user, password));
        let lookup = Arc::new(System);
        let resolver = Resolver::new(&self.nameservers, lookup.clone(), self.limits.question_timeout);
        let resolver = resolver.await.map_err(Error::Config)?;
        let limit = self.limits.component_bytes;
        let bytes = match self.component {
            Some(Component::Bytes(bytes)) => bytes,
            Some(Component::File(path)) => load::read(&path, limit).await?,
            None => return Err(Error::Config("no component is given".to_owned())),
        };
        let plugin = load::load(&runtime::engine()?, bytes, limit, self.link_mode).await?;
        let lent = Lent {
            sender: Arc::new(Sender::new(policy, lookup, tls, login, &self.limits)),
            resolver: Arc::new(resolver),
            settings: Arc::new(self.settings),
        };
        let runtime = Runtime::new(plugin, lent, self.limits, self.observer);
        let wait = self.verify_wait.unwrap_or(Duration::from_secs(5));
        DnsManager::new(runtime, self.nameservers, wait).await
    }

    /// The policy of the backend; its first URL becomes the setting `url`.
    fn policy(&mut self) -> Result<Policy, Error> {
        let (authority, secure, route) = match (self.handler.take(), &*self.backend) {
            (Some(_), [_, ..]) => {
                return Err(Error::Config("a backend and a handler in its place cannot both be given".to_owned()));
            }
            (Some((authority, handler)), []) => {
                let authority = Authority::parse(&authority, None)
                    .map_err(|_| Error::Config(format!("`{authority}` is no host:port for a backend's handler")))?;
                (authority, false, Route::Process(handler))
            }
            (None, urls) => {
                let members =
                    urls.iter().map(|url| member(url)).collect::<Result<Vec<_>, _>>().map_err(Error::Config)?;
                // Without a backend every request is denied.
                let Some((first, secure)) = members.first().cloned() else { return Ok(Policy::default()) };
                if members.iter().any(|(_, other)| *other != secure) {
                    return Err(Error::Config(
                        "the backend's URLs are partly http and partly https; use one for all of them".to_owned(),
                    ));
                }
                (first, secure, Route::Network(members.into_iter().map(|(member, _)| member).collect()))
            }
        };
        let scheme = if secure { "https" } else { "http" };
        self.settings.entry("url".to_owned()).or_insert_with(|| format!("{scheme}://{authority}"));
        let mut rule = self.rule.take();
        if self.credentials.is_some() {
            let own = rule.take();
            rule = Some(Arc::new(move |method, path| {
                login::permits(path) && own.as_ref().is_none_or(|rule| rule(method, path))
            }));
        }
        let endpoint = Endpoint { authority, secure, route, private: anywhere(), rule };
        Ok(Policy { endpoints: vec![Arc::new(endpoint)] })
    }
}

/// The host and port of a backend's base URL, and whether it is `https`.
fn member(url: &str) -> Result<(Authority, bool), String> {
    let example = "write http://host:port, as in http://localhost:2379";
    let Some((scheme, _)) = url.split_once("://") else {
        return Err(format!("the backend's URL `{url}` has no scheme; {example}"));
    };
    let secure = scheme.eq_ignore_ascii_case("https");
    if !secure && !scheme.eq_ignore_ascii_case("http") {
        return Err(format!("the backend's URL `{url}` is neither http nor https; {example}"));
    }
    let uri: Uri = url.parse().map_err(|_| format!("the backend's URL `{url}` is malformed; {example}"))?;
    if !matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("" | "/")) || url.contains('#') {
        return Err(format!("the backend's URL `{url}` has a path or a query; {example}"));
    }
    let authority =
        Authority::of(&uri).map_err(|_| format!("the backend's URL `{url}` has no plain host and port; {example}"))?;
    if authority.ip().is_some_and(never) {
        return Err(format!("the backend's URL `{url}` has an address that must not be reached"));
    }
    Ok((authority, secure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_urls_are_read_strictly() {
        let cases = [
            ("http://localhost:2379", Ok("localhost:2379")),
            ("http://localhost:2379/", Ok("localhost:2379")),
            ("HTTP://ETCD.example.com", Ok("etcd.example.com:80")),
            ("http://[::1]:2379", Ok("[::1]:2379")),
            ("http://10.0.0.1:2379", Ok("10.0.0.1:2379")),
            ("localhost:2379", Err("no scheme")),
            ("10.0.0.1", Err("no scheme")),
            ("https://etcd:2379", Ok("etcd:2379")),
            ("HTTPS://etcd", Ok("etcd:443")),
            ("ftp://etcd:2379", Err("neither http nor https")),
            ("http://etcd:2379/v3", Err("path")),
            ("http://etcd:2379/?a=b", Err("path")),
            ("http://etcd:2379/#a", Err("path")),
            ("http://user:secret@etcd:2379", Err("plain host and port")),
            ("http://127.1:2379", Err("plain host and port")),
            ("http://", Err("malformed")),
            ("http://etcd:99999", Err("")),
            ("http://169.254.169.254", Err("must not be reached")),
        ];
        for (url, expected) in cases {
            match (member(url), expected) {
                (Ok((authority, secure)), Ok(expected)) => {
                    assert_eq!(authority.to_string(), expected, "{url}");
                    assert_eq!(secure, url.to_lowercase().starts_with("https:"), "{url}");
                }
                (Err(message), Err(expected)) => assert!(message.contains(expected), "{url}: {message}"),
                (got, _) => panic!("{url}: {got:?}"),
            }
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_before_anything_is_loaded() {
        let cases = [
            (Builder::default().backend(["etcd:2379"]), "scheme"),
            (Builder::default().nameservers(["127.0.0.1"]), "name server"),
            (Builder::default().nameservers(["169.254.169.253:53"]), "must not be reached"),
            (Builder::default().limits(Limits { concurrency: 0, ..Limits::default() }), "concurrency"),
            (Builder::default().backend(["http://a:1", "https://b:1"]), "partly http and partly https"),
            (Builder::default().backend(["http://a:1"]).tls(Tls::default()), "not https"),
            (Builder::default(), "no component"),
        ];
        for (builder, expected) in cases {
            let Err(Error::Config(message)) = builder.build().await else { panic!("{expected}") };
            assert!(message.contains(expected), "{message}");
        }
    }
}
