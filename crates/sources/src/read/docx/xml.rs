//! Reads XML as a sequence of tags and texts. Entities that a document defines are not expanded.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::read::ReadError;

pub(super) enum Node<'a> {
    /// An element without content has no end.
    Start(StartTag<'a>),
    End(&'a str),
    Text(String),
}

pub(super) struct StartTag<'a> {
    /// Without its namespace prefix.
    pub(super) name: String,
    pub(super) is_empty: bool,
    tag: &'a BytesStart<'a>,
}

impl StartTag<'_> {
    /// The value of an attribute, with any prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = self.tag.attributes();
        let found = attributes
            .with_checks(false)
            .flatten()
            .find(|attribute| attribute.key.local_name().as_ref() == name)?;
        let value = found.normalized_value(XmlVersion::Implicit1_0).ok()?;
        Some(value.into_owned())
    }
}

pub(super) fn read_xml(
    xml: &str,
    mut visit: impl FnMut(Node<'_>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = false;
    loop {
        let node = match reader.read_event() {
            Ok(Event::Start(tag)) => {
                visit(start(&tag, false))?;
                continue;
            }
            Ok(Event::Empty(tag)) => {
                visit(start(&tag, true))?;
                continue;
            }
            Ok(Event::End(tag)) => {
                visit(Node::End(tag.local_name().as_ref()))?;
                continue;
            }
            Ok(Event::Text(text)) => Node::Text(text.xml10_content().into_owned()),
            Ok(Event::CData(text)) => Node::Text(text.xml10_content().into_owned()),
            Ok(Event::GeneralRef(reference)) => {
                let character = reference.resolve_char_ref().ok().flatten();
                let name = reference.xml10_content();
                let known = character.map(String::from);
                Node::Text(known.unwrap_or_else(|| {
                    resolve_predefined_entity(&name)
                        .unwrap_or_default()
                        .to_owned()
                }))
            }
            Ok(Event::Eof) => return Ok(()),
            Ok(_) => continue,
            Err(_) => return Err(ReadError::NotDocx),
        };
        visit(node)?;
    }
}

fn start<'a>(tag: &'a BytesStart<'a>, is_empty: bool) -> Node<'a> {
    Node::Start(StartTag {
        name: tag.local_name().as_ref().to_owned(),
        is_empty,
        tag,
    })
}
