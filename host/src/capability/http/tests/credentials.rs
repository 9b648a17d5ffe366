//! Requests under the operator's credentials.

use super::*;

/// Answers every request as `answer` says; tells what came.
fn serve_by(
    listener: TcpListener,
    answer: impl Fn(usize, &str) -> (u16, String) + Send + 'static,
) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let shared = log.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(request) = request(&mut stream).await {
                let number = shared.lock().unwrap().len();
                let (status, body) = answer(number, &request);
                shared.lock().unwrap().push(request);
                let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        }
    });
    log
}

fn hooks_of_dns(address: SocketAddr) -> Hooks {
    let authority = Authority::parse(&address.to_string(), None).unwrap();
    let route = Route::Network(vec![authority.clone()]);
    let endpoint = Endpoint { authority, secure: false, route, private: anywhere(), rule: None };
    let login = Login::new("dns".to_owned(), "geheim".into());
    hooks_as(endpoint, Some(login), &limits())
}

async fn status_of(hooks: &mut Hooks, request: Request<WasiBody>) -> (u16, String) {
    let sent = hooks.send_request(request, None, Box::new(async { Ok(()) }));
    let (head, body) = Pin::from(sent).await.unwrap().0.into_parts();
    assert!(head.headers.get(header::AUTHORIZATION).is_none());
    (head.status.as_u16(), String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn login_is_made_once_and_renewed_once_when_the_token_is_unknown() {
    let (listener, address) = listener().await;
    // Each login brings another token; only the second one is any good.
    let log = serve_by(listener, |number, request| match request {
        login if login.starts_with("post /v3/auth/authenticate ") => (200, format!(r#"{{"token":"token-{number}"}}"#)),
        known if known.contains("authorization: token-2\r\n") => (200, "echo token-2".to_owned()),
        _ => (401, r#"{"code":16,"message":"etcdserver: invalid auth token"}"#.to_owned()),
    });
    let mut hooks = hooks_of_dns(address);

    for _ in 0..3 {
        // The token does not come back to the plugin.
        assert_eq!(status_of(&mut hooks, post(address, "{\"a\":1}")).await, (200, "echo *******".to_owned()));
    }

    let log = log.lock().unwrap();
    let paths: Vec<_> = log.iter().map(|request| request.split(' ').nth(1).unwrap()).collect();
    let (login, txn) = ("/v3/auth/authenticate", "/v3/kv/txn");
    assert_eq!(paths, [login, txn, login, txn, txn, txn]);
    assert!(log[0].ends_with(r#"{"name":"dns","password":"geheim"}"#), "{}", log[0]);
    assert!(log[1].ends_with("{\"a\":1}") && log[3].ends_with("{\"a\":1}"));
}

#[tokio::test]
async fn token_that_stays_unknown_is_not_tried_for_ever() {
    let (listener, address) = listener().await;
    let log = serve_by(listener, |_, request| match request {
        login if login.starts_with("post /v3/auth/") => (200, r#"{"token":"abcdefgh.1"}"#.to_owned()),
        _ => (401, r#"{"code":16,"message":"etcdserver: invalid auth token"}"#.to_owned()),
    });

    let (status, _) = status_of(&mut hooks_of_dns(address), post(address, "{}")).await;

    assert_eq!((status, log.lock().unwrap().len()), (401, 4));
}

#[tokio::test]
async fn refused_login_is_answered_in_the_backends_words_and_nothing_is_handed_on() {
    for (status, code, expected) in [(400, 3, 401), (503, 14, 511)] {
        let (listener, address) = listener().await;
        let log =
            serve_by(listener, move |_, _| (status, format!(r#"{{"code":{code},"message":"etcdserver: no geheim"}}"#)));

        let (got, body) = status_of(&mut hooks_of_dns(address), post(address, "{}")).await;

        assert_eq!(got, expected);
        assert!(body.contains("as `dns`") && body.contains("no ********") && !body.contains("geheim"), "{body}");
        assert!(log.lock().unwrap().iter().all(|request| request.starts_with("post /v3/auth/authenticate ")));
    }
}

#[tokio::test]
async fn access_control_may_be_off_and_come_on() {
    let (listener, address) = listener().await;
    let log = serve_by(listener, |number, request| match (number, request) {
        (0, _) => (400, r#"{"code":9,"message":"etcdserver: authentication is not enabled"}"#.to_owned()),
        (1, _) => (200, "{}".to_owned()),
        (_, login) if login.starts_with("post /v3/auth/") => (200, r#"{"token":"abcdefgh.1"}"#.to_owned()),
        (_, known) if known.contains("authorization: abcdefgh.1") => (200, "{}".to_owned()),
        _ => (400, r#"{"code":3,"message":"etcdserver: user name is empty"}"#.to_owned()),
    });
    let mut hooks = hooks_of_dns(address);

    for _ in 0..2 {
        assert_eq!(status_of(&mut hooks, post(address, "{}")).await, (200, "{}".to_owned()));
    }

    assert!(!log.lock().unwrap()[1].contains("authorization:"));
}

#[tokio::test]
async fn nobody_to_log_in_at_is_surely_not_sent() {
    let (_nobody, address) = nobody();
    let refused = send(&mut hooks_of_dns(address), post(address, "{}")).await;
    assert!(matches!(refused, Err(HttpError::ConnectionRefused)), "{refused:?}");
}

#[tokio::test]
async fn header_of_the_operators_token_is_forbidden() {
    let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
    assert!(hooks_of_dns(address).is_forbidden_header(&header::AUTHORIZATION));
    assert!(hooks_of_dns(address).is_forbidden_header(&header::HOST));
    assert!(!hooks_with(&[address], &limits()).is_forbidden_header(&header::AUTHORIZATION));
}
