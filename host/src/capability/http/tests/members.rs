//! Several members of one backend, of which some are down, silent, or cut off from the others.

use super::*;

#[tokio::test]
async fn second_member_answers_in_the_name_of_the_first() {
    let ((_nobody, first), (listener, second)) = (nobody(), listener().await);
    let log = serve(listener, OK);
    let mut hooks = hooks_with(&[first, second], &limits());

    assert_eq!(send(&mut hooks, post(first, "{}")).await.unwrap(), "ok");

    assert!(log.lock().unwrap().1[0].contains(&format!("host: {first}")));
    // The plugin knows the first alone.
    assert!(matches!(send(&mut hooks, post(second, "{}")).await, Err(HttpError::HttpRequestDenied)));
}

#[tokio::test]
async fn member_that_dies_with_its_connections_is_failed_over() {
    let ((dying, first), (listener, second)) = (listener().await, listener().await);
    let log = serve(listener, OK);
    let mut hooks = hooks_with(&[first, second], &limits());
    let server = tokio::spawn(async move {
        let (mut stream, _) = dying.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        stream.write_all(OK).await.unwrap();
    });
    assert_eq!(send(&mut hooks, post(first, "{}")).await.unwrap(), "ok");
    server.await.unwrap();

    // The first may meet the connection while it closes.
    let answers =
        [send(&mut hooks, post(first, "{}")).await.is_ok(), send(&mut hooks, post(first, "{}")).await.is_ok()];

    assert!(answers[1], "{answers:?}");
    assert!(!log.lock().unwrap().1.is_empty());
}

#[tokio::test]
async fn member_that_falls_silent_is_left_for_last_with_all_its_connections() {
    let ((falling, first), (listener, second)) = (listener().await, listener().await);
    let log = serve(listener, OK);
    let silent = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (falls, kept) = (silent.clone(), Arc::new(Mutex::new(0)));
    let unanswered = kept.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = falling.accept().await {
            let (falls, unanswered) = (falls.clone(), unanswered.clone());
            tokio::spawn(async move {
                while request(&mut stream).await.is_some() {
                    if falls.load(std::sync::atomic::Ordering::Relaxed) {
                        *unanswered.lock().unwrap() += 1;
                    } else {
                        // Long enough for all of them to be under way at once.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        stream.write_all(OK).await.unwrap();
                    }
                }
            });
        }
    });
    let mut hooks = hooks_with(&[first, second], &limits());
    let at_once: Vec<_> = (0..3)
        .map(|_| tokio::spawn(Pin::from(hooks.send_request(post(first, "{}"), None, Box::new(async { Ok(()) })))))
        .collect();
    for sent in at_once {
        let body = sent.await.unwrap().unwrap().0.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
    }

    silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let lost = tokio::time::timeout(SILENCE + Duration::from_millis(500), send(&mut hooks, post(first, "{}"))).await;
    assert!(lost.is_err(), "nobody waits any longer");
    for _ in 0..5 {
        assert_eq!(send(&mut hooks, post(first, "{}")).await.unwrap(), "ok");
    }

    // One request was spent on the silent member, and none on what the pool kept of it.
    assert_eq!((*kept.lock().unwrap(), log.lock().unwrap().1.len()), (1, 5));
}

#[tokio::test]
async fn member_without_the_others_is_left_for_last() {
    let ((first, address), (second, other)) = (listener().await, listener().await);
    let cut_off = serve(first, b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}");
    let with_majority = serve(second, OK);
    let mut hooks = hooks_with(&[address, other], &limits());

    for _ in 0..3 {
        send(&mut hooks, post(address, "{}")).await.unwrap();
    }

    assert_eq!((cut_off.lock().unwrap().1.len(), with_majority.lock().unwrap().1.len()), (1, 2));
}
