//! Converts Word documents (.docx) to Markdown: headings, lists, tables and notes.

mod body;
mod package;
mod xml;

use std::collections::HashMap;

use super::{DocumentText, ReadError};
use body::BodyReader;
use package::Package;
use xml::{Node, read_xml};

/// Based-on chains of styles are not followed further.
const MAX_STYLE_CHAIN: usize = 10;

pub(super) fn docx_to_text(bytes: &[u8]) -> Result<DocumentText, ReadError> {
    let mut package = Package::open(bytes)?;
    let types = package.xml("[Content_Types].xml")?.unwrap_or_default();
    let main = part_of_type(&types, "document.main+xml")
        .or_else(|| part_of_type(&types, "template.main+xml"))
        .ok_or(ReadError::NotDocx)?;
    let styles = match part_of_type(&types, "styles+xml") {
        Some(part) => package.xml(&part)?.map(|xml| heading_levels(&xml)),
        None => None,
    };
    let styles = styles.unwrap_or_default();
    let content = package.xml(&main)?.ok_or(ReadError::NotDocx)?;
    let mut text = BodyReader::read(&content, &styles)?;
    for kind in ["footnotes+xml", "endnotes+xml"] {
        let notes = match part_of_type(&types, kind) {
            Some(part) => package.xml(&part)?,
            None => None,
        };
        if let Some(notes) = notes {
            text.push_str("\n\n");
            text.push_str(&BodyReader::read(&notes, &styles)?);
        }
    }
    let core = match part_of_type(&types, "core-properties+xml") {
        Some(part) => package.xml(&part)?,
        None => None,
    };
    let title = core.and_then(|xml| title_of(&xml));
    let first_heading = || text.lines().find_map(|line| line.strip_prefix("# "));
    let title = title.or_else(|| first_heading().map(str::to_owned));
    Ok(DocumentText { title, text })
}

/// The name of the part with this content type.
fn part_of_type(types: &str, ending: &str) -> Option<String> {
    let mut part = None;
    // A damaged list ends early.
    let _ = read_xml(types, |node| {
        if let Node::Start(tag) = node
            && tag.name == "Override"
            && part.is_none()
            && tag
                .attribute("ContentType")
                .is_some_and(|kind| kind.ends_with(ending))
        {
            part = tag
                .attribute("PartName")
                .map(|name| name.trim_start_matches('/').to_owned());
        }
        Ok(())
    });
    part
}

/// The heading level of each paragraph style. Ids of styles are translated, their names are not.
fn heading_levels(styles: &str) -> HashMap<String, usize> {
    let (mut levels, mut based_on) = (HashMap::new(), HashMap::new());
    let mut id = String::new();
    let _ = read_xml(styles, |node| {
        let Node::Start(tag) = node else {
            return Ok(());
        };
        let value = || tag.attribute("val").unwrap_or_default();
        match &*tag.name {
            "style" => id = tag.attribute("styleId").unwrap_or_default(),
            "name" => {
                if let Some(level) = level_of_name(&value()) {
                    levels.insert(id.clone(), level);
                }
            }
            "outlineLvl" => {
                if let Some(level) = outline_level(&value()) {
                    levels.entry(id.clone()).or_insert(level);
                }
            }
            "basedOn" => {
                based_on.insert(id.clone(), value());
            }
            _ => {}
        }
        Ok(())
    });
    for style in based_on.keys() {
        let mut above = style;
        for _ in 0..MAX_STYLE_CHAIN {
            if let Some(level) = levels.get(above).copied() {
                levels.insert(style.clone(), level);
                break;
            }
            let Some(next) = based_on.get(above) else {
                break;
            };
            above = next;
        }
    }
    levels
}

/// Of `heading 1`, `Heading1` or `Title`.
fn level_of_name(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    if name == "title" {
        return Some(1);
    }
    let level = name.strip_prefix("heading")?.trim().parse::<usize>().ok()?;
    (1..=9).contains(&level).then_some(level)
}

/// Outline levels count from 0. 9 is body text.
fn outline_level(value: &str) -> Option<usize> {
    let level = value.parse::<usize>().ok()?;
    (level < 9).then_some(level + 1)
}

fn title_of(core: &str) -> Option<String> {
    let (mut title, mut is_title) = (String::new(), false);
    let _ = read_xml(core, |node| {
        match node {
            Node::Start(tag) => is_title = tag.name == "title" && !tag.is_empty,
            Node::End(_) => is_title = false,
            Node::Text(text) if is_title => title.push_str(&text),
            Node::Text(_) => {}
        }
        Ok(())
    });
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(title).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests;
