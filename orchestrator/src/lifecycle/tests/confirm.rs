//! A name that resolves after its workflow had given up waiting for it.

use super::*;

async fn unverified(policy: impl FnOnce(&mut Policy)) -> World {
    let world = World::with(FakeDns::default().verdict(Verdict::NotFound), policy);
    let server = world.create().await;
    assert_eq!((server.state, server.dns.verified), (State::Ready, Some(false)));
    assert!(server.problem.is_some() && server.retry_at.is_some());
    world
}

async fn server(world: &World) -> Server {
    world.lifecycle.find("web-01.example.com").await.unwrap().server
}

#[tokio::test]
async fn a_server_whose_name_was_seen_to_resolve_is_verified() {
    let world = unverified(|policy| policy.ptr = true).await;
    world.dns.set_verdict(Verdict::Verified);

    assert!(world.lifecycle.confirm("web-01.example.com").await.unwrap());

    let server = server(&world).await;
    assert_eq!((server.state, server.dns.verified), (State::Ready, Some(true)));
    assert_eq!((server.problem.as_deref(), server.retry_at, server.dns.tries), (None, None, 0));
    assert_eq!(steps(&server).last().unwrap(), "verify Done A, AAAA, PTR verified", "and its PTRs were asked for");
    assert!(server.dns.resolvable_ms.values().all(Option::is_none), "after how long nobody knows");

    let asked = world.dns.asked().len();
    assert!(!world.lifecycle.confirm("web-01.example.com").await.unwrap(), "there is nothing left to take down");
    assert_eq!(world.dns.asked().len(), asked);
}

#[tokio::test]
async fn what_is_not_so_or_nobodys_is_not_taken_down() {
    let world = unverified(|_| {}).await;
    let before = server(&world).await;

    for name in ["web-01.example.com", "web-02.example.com", "_sip._tcp.example.com", "*.example.com", ""] {
        assert!(!world.lifecycle.confirm(name).await.unwrap(), "{name}");
    }
    world.dns.set_verdict(Verdict::Verified);
    let theirs = world.inventory.claim(before.id).await.unwrap();
    assert!(!world.lifecycle.confirm("web-01.example.com").await.unwrap(), "its workflow sees to it");
    drop(theirs);

    assert_eq!(server(&world).await, before);
}

#[tokio::test]
async fn a_problem_of_another_kind_stays() {
    let world = unverified(|_| {}).await;
    let Stored { mut server, revision } = world.lifecycle.find("web-01.example.com").await.unwrap();
    let of_verification = server.problem.take().unwrap();
    server.add_problem("records of its former name may be left");
    server.add_problem(&of_verification);
    world.inventory.update(&server, revision, None).await.unwrap();
    world.dns.set_verdict(Verdict::Verified);

    assert!(world.lifecycle.confirm("web-01.example.com").await.unwrap());

    let problem = self::server(&world).await.problem;
    assert_eq!(problem.as_deref(), Some("records of its former name may be left"));
}
