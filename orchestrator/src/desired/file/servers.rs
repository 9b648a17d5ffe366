//! Files of servers: YAML or JSON, a list of `{hostname, addresses?}`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::problems::{self, List, Problems};
use super::tree::{Kind, Node};
use super::{FileError, Place};

const KEYS: [&str; 2] = ["hostname", "addresses"];
const FORM: &str = "a server, such as {hostname: web-01.example.com, addresses: [192.168.1.10]}";
const LIST: List =
    List { nothing: "a list of servers", belongs: "a list belongs here: begin each server with \"- hostname:\"" };

/// A server of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewServer {
    /// Its name, as it is written.
    pub hostname: String,
    /// Its addresses; none: its provider knows them.
    pub addresses: Vec<IpAddr>,
}

/// Reads a file; `name` is what it is called in messages.
///
/// # Errors
///
/// All that is wrong with it.
pub fn servers(name: &str, octets: &[u8]) -> Result<Vec<NewServer>, FileError> {
    let (items, problems) = problems::items(octets, &LIST);
    let mut reading = Reading { problems, ..Reading::default() };
    items.iter().for_each(|item| reading.item(item));
    reading.problems.finish(name, reading.servers, Vec::new())
}

#[derive(Default)]
struct Reading {
    servers: Vec<NewServer>,
    places: BTreeMap<String, Place>,
    problems: Problems,
}

impl Reading {
    fn wrong(&mut self, place: Place, message: impl Into<String>) {
        self.problems.add(place, message);
    }

    fn item(&mut self, item: &Node) {
        let Some(fields) = self.problems.fields(item, FORM) else { return };
        let (mut hostname, mut addresses) = (None, Some(Vec::new()));
        let mut given = Vec::new();
        for (key, content) in fields {
            let key_text = match &key.kind {
                Kind::Text { text, .. } => text.as_str(),
                _ => "",
            };
            if given.contains(&key_text) {
                self.wrong(key.place, format!("\"{key_text}\" is given twice: remove one"));
            }
            given.push(key_text);
            match key_text {
                "hostname" => hostname = self.hostname(content),
                "addresses" => addresses = self.addresses(content),
                _ => self.wrong(
                    key.place,
                    format!("\"{}\" is not known: known are {}", key_text.escape_debug(), KEYS.join(", ")),
                ),
            }
        }
        if !given.contains(&"hostname") {
            self.wrong(item.place, format!("\"hostname\" is missing: write {FORM}"));
        }
        if let (Some(hostname), Some(addresses)) = (hostname, addresses) {
            let key = hostname.trim_end_matches('.').to_ascii_lowercase();
            match self.places.get(&key) {
                Some(first) => {
                    let message = format!("{hostname} stands at {first} already: remove one");
                    self.wrong(item.place, message);
                }
                None => {
                    self.places.insert(key, item.place);
                    self.servers.push(NewServer { hostname, addresses });
                }
            }
        }
    }

    fn hostname(&mut self, node: &Node) -> Option<String> {
        match &node.kind {
            Kind::Text { text, .. } if !text.is_empty() => Some(text.clone()),
            _ => {
                self.wrong(node.place, format!("this is {}, and \"hostname\" is a name", node.what()));
                None
            }
        }
    }

    fn addresses(&mut self, node: &Node) -> Option<Vec<IpAddr>> {
        let Kind::List(items) = &node.kind else {
            self.wrong(
                node.place,
                format!("this is {}, and \"addresses\" is a list: write [192.168.1.10], say", node.what()),
            );
            return None;
        };
        let mut addresses = Vec::new();
        let problems = self.problems.count();
        for item in items {
            match &item.kind {
                Kind::Text { text, .. } => match text.parse() {
                    Ok(address) => addresses.push(address),
                    Err(_) => self.wrong(item.place, format!("\"{}\" is no IP address", text.escape_debug())),
                },
                _ => self.wrong(item.place, format!("this is {}, and an address is a text", item.what())),
            }
        }
        (self.problems.count() == problems).then_some(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_servers_is_read_from_yaml_and_json() {
        let expected = [
            NewServer {
                hostname: "web-01".to_owned(),
                addresses: vec!["192.168.1.10".parse().unwrap(), "::1".parse().unwrap()],
            },
            NewServer { hostname: "web-02".to_owned(), addresses: vec![] },
        ];
        let yaml = "- hostname: web-01\n  addresses: [192.168.1.10, '::1']\n- hostname: web-02\n";
        let json = r#"[{"hostname": "web-01", "addresses": ["192.168.1.10", "::1"]}, {"hostname": "web-02"}]"#;
        assert_eq!(servers("f", yaml.as_bytes()).unwrap(), expected);
        assert_eq!(servers("f", json.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn all_that_is_wrong_is_said_with_its_place() {
        let file = "- hostname: web-01\n  addresses: [here]\n- addresses: []\n- hostname: web-02\n  size: 3\n- hostname: WEB-02.\n- web-03\n";
        assert_eq!(
            servers("servers.yaml", file.as_bytes()).unwrap_err().to_string(),
            "servers.yaml:2:15: \"here\" is no IP address\n\
             servers.yaml:3:3: \"hostname\" is missing: write a server, such as {hostname: web-01.example.com, addresses: [192.168.1.10]}\n\
             servers.yaml:5:3: \"size\" is not known: known are hostname, addresses\n\
             servers.yaml:6:3: WEB-02. stands at 4:3 already: remove one\n\
             servers.yaml:7:3: this is a text: write a server, such as {hostname: web-01.example.com, addresses: [192.168.1.10]}"
        );
    }
}
