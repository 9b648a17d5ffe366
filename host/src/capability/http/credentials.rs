//! Exchanges under the operator's credentials: log in where that is due, and once more where the token had become stale.

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use tokio::time::timeout_at;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::{
    sender::{Sender, Times, boxed},
    target,
};
use crate::capability::{
    body::{Bounds, Departure, Incoming, Outgoing, Source},
    login::{self, Answered, Login, Standing},
    policy::Endpoint,
};

impl Sender {
    /// Sends with the operator's credentials, and once more if they had become
    /// stale.
    pub(super) async fn logged_in(
        &self,
        login: &Login,
        endpoint: &Endpoint,
        request: Request<WasiBody>,
        times: &Times,
        bounds: &(dyn Fn() -> Bounds + Sync),
    ) -> Result<Response<Bytes>, HttpError> {
        let _place = self.place(times).await?;
        let (head, body) = request.into_parts();
        // Whole, so that it can be sent again.
        let body = Outgoing::new(body, Departure::default(), self.request_bytes).collect();
        let body = timeout_at(times.end, body).await.map_err(|_| HttpError::ConnectionTimeout)??.to_bytes();
        let mut stale = None;
        loop {
            let standing = match self.standing(login, endpoint, stale.as_ref(), times, bounds).await? {
                Ok(standing) => standing,
                Err(answer) => return Ok(answer),
            };
            let mut head = head.clone();
            if let Some(token) = standing.token() {
                token.attach(&mut head.headers);
            }
            let response = self.exchange(endpoint, Request::from_parts(head, body.clone()), times, bounds()).await?;
            if stale.is_none() && login::is_stale(response.status(), response.body()) {
                stale = Some(standing);
                continue;
            }
            let (mut head, mut body) = response.into_parts();
            if let Some(token) = standing.token() {
                body = token.blot_out(&mut head.headers, body);
            }
            head.headers.remove(header::AUTHORIZATION);
            if let Some(named) = login.denied(&body) {
                head.headers.remove(header::CONTENT_LENGTH);
                body = named;
            }
            return Ok(Response::from_parts(head, body));
        }
    }

    /// How we stand with the backend, other than `stale`; or what the plugin is
    /// answered where we do not stand at all. One request at a time logs in,
    /// and the others wait for it.
    async fn standing(
        &self,
        login: &Login,
        endpoint: &Endpoint,
        stale: Option<&Standing>,
        times: &Times,
        bounds: &(dyn Fn() -> Bounds + Sync),
    ) -> Result<Result<Standing, Response<Bytes>>, HttpError> {
        let waited = timeout_at(times.end, login.standing()).await;
        let mut standing = waited.map_err(|_| HttpError::ConnectionTimeout)?;
        let is_good = match (&*standing, stale) {
            (Standing::Unknown, _) => false,
            (_, None) => true,
            (now, Some(stale)) => now.token() != stale.token(),
        };
        if is_good {
            return Ok(Ok(standing.clone()));
        }
        let (path, body) = login.request();
        let (uri, host) = target::target(endpoint, path)?;
        let request = login::post(uri, host, body.len(), body);
        // Whatever became of the login, the plugin's request was not sent.
        let response = self.exchange(endpoint, request, times, bounds()).await.map_err(|error| match error {
            HttpError::HttpResponseTimeout | HttpError::ConnectionReadTimeout => HttpError::ConnectionTimeout,
            HttpError::ConnectionTerminated
            | HttpError::HttpResponseIncomplete
            | HttpError::HttpProtocolError
            | HttpError::HttpResponseBodySize(_) => HttpError::ConnectionRefused,
            other => other,
        })?;
        Ok(match login.judge(response.status(), response.body()) {
            Answered::In(now) => {
                *standing = now.clone();
                Ok(now)
            }
            Answered::Refused(why) => {
                *standing = Standing::Unknown;
                tracing::warn!("the backend lets nobody in: {why}");
                Err(login::not_handed_on(true, &why))
            }
            Answered::Later(why) => {
                *standing = Standing::Unknown;
                tracing::debug!("{why}");
                Err(login::not_handed_on(false, &why))
            }
            Answered::Missing => {
                *standing = Standing::Unknown;
                Err(login::missing())
            }
            Answered::Stranger(said) => {
                *standing = Standing::Unknown;
                Err(login::stranger(response.status(), said))
            }
        })
    }

    /// One exchange, whole.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: Request<Bytes>,
        times: &Times,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, HttpError> {
        let departure = Departure::default();
        let request = request.map(|body| Outgoing::new(boxed(body), departure.clone(), self.request_bytes));
        let (head, body) = self.over_network(endpoint, request, &departure, times).await?.into_parts();
        let body = Incoming::new(Source::Network(body), bounds).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}
