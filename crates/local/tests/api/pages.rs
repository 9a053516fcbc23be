//! The console's pages over HTTP: their security policy and their caching. Their
//! content is tested in a browser (`web/tests`).

use reqwest::{Method, Response};

use crate::support::{World, refused};

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = world.http.get(format!("{}{path}", world.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_address_of_the_console_serves_the_same_page() {
    let world = World::start().await;
    let unmoved = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let start = unmoved.get(format!("{}/", world.url)).send().await.unwrap();
    assert_eq!(
        (start.status().as_u16(), header(&start, "location")),
        (302, "/console/")
    );
    let page = get(&world, "/console/", &[]).await.text().await.unwrap();
    assert!(page.to_lowercase().starts_with("<!doctype html>"));
    for path in [
        "/console",
        "/console/agents",
        "/console/tasks/01a20a20-631b-7a23-97b9-739841df161c",
    ] {
        let response = get(&world, path, &[]).await;
        assert_eq!(
            header(&response, "content-type"),
            "text/html; charset=utf-8"
        );
        assert_eq!(response.text().await.unwrap(), page, "{path}");
    }
}

#[tokio::test]
async fn a_page_may_run_our_scripts_and_call_our_server_and_nothing_else() {
    let world = World::start().await;
    let page = get(&world, "/console/", &[]).await;
    let policy = header(&page, "content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header(&page, "x-content-type-options"), "nosniff");
    assert_eq!(header(&page, "referrer-policy"), "no-referrer");
    assert_eq!(header(&page, "x-frame-options"), "DENY");
}

#[tokio::test]
async fn the_page_is_revalidated_each_time_and_its_files_are_cached_for_ever() {
    let world = World::start().await;
    let page = get(&world, "/console/", &[]).await;
    assert_eq!(header(&page, "cache-control"), "no-cache");
    let etag = header(&page, "etag").to_owned();
    let again = get(&world, "/console/", &[("if-none-match", &etag)]).await;
    assert_eq!(again.status(), 304);
    assert_eq!(again.bytes().await.unwrap().len(), 0);

    let text = page.text().await.unwrap();
    let assets: Vec<&str> = text
        .split('"')
        .filter(|part| part.starts_with("/console/assets/"))
        .collect();
    assert!(assets.len() >= 2, "a script and a style: {assets:?}");
    for asset in assets {
        let packed = get(&world, asset, &[("accept-encoding", "gzip")]).await;
        assert_eq!(
            header(&packed, "cache-control"),
            "public, max-age=31536000, immutable",
            "{asset}"
        );
        assert_eq!(
            (header(&packed, "content-encoding"), header(&packed, "vary")),
            ("gzip", "accept-encoding")
        );
        let packed = packed.bytes().await.unwrap();
        let plain = get(&world, asset, &[]).await.bytes().await.unwrap();
        let mut unpacked = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked)
            .unwrap();
        assert_eq!(unpacked, plain, "{asset}");
    }
}

#[tokio::test]
async fn an_unknown_file_is_not_found_and_pages_are_read_only() {
    let world = World::start().await;
    for path in [
        "/console/assets/app.js",
        "/console/assets/..%2Findex.html",
        "/api/docs/assets/x.js",
    ] {
        assert_eq!(
            refused(get(&world, path, &[]).await, 404).await.1,
            "not_found",
            "{path}"
        );
    }
    let post = world
        .http
        .request(Method::POST, format!("{}/console/", world.url))
        .send()
        .await
        .unwrap();
    assert_eq!(header(&post, "allow"), "GET, HEAD");
    assert_eq!(refused(post, 405).await.1, "method_not_allowed");
    let response = world
        .http
        .request(Method::HEAD, format!("{}/console/", world.url))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
}
