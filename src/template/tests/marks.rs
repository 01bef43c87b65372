//! What is nearly ours: refused, or left as text and told.

use super::*;

#[test]
fn tags_of_other_languages_are_refused_anywhere() {
    for (tag, meant) in [
        ("elseif x", "elif"),
        ("elsif x", "elif"),
        ("end", "endif"),
        ("fi", "endif"),
        ("endunless", "endif"),
        ("unless x", "if not"),
        ("foreach x in y", "for"),
        ("endforeach", "endfor"),
        ("switch x", "if"),
    ] {
        let says = format!("there is no tag `{}`; did you mean `{meant}`?", tag.split(' ').next().unwrap());
        fails_with(&format!("<% {tag} %>"), &says);
        fails_with(&format!("<%-\n{tag}\n-%>"), &says);
        fails_with(&format!("<% if true %>a<% {tag} %>b<% endif %>"), &says);
    }
}

#[test]
fn within_a_block_no_unknown_tag_is_text() {
    fails_with(
        "<% if true %>a<% otherwise %>b<% endif %>",
        "there is no tag `otherwise` [one of `if`, `elif`",
    );
    fails_with("<% if true %>a<% ELSE %>b<% endif %>", "did you mean `else`?");
    fails_with(
        "<% for x in ['a'] %><< x >><% end %>",
        "t:1:31: there is no tag `end`; did you mean `endfor`?",
    );
    fails_with("<% if true %>a<% else if false %>b<% endif %>", "`if` cannot stand here");
    let far = format!("<% if true %>a<% elseif '{}' %>b<% endif %>", "x".repeat(5000));
    fails_with(&far, "did you mean `elif`?");
    let jinja = Options { syntax: Syntax::Jinja, ..Options::default() };
    let error = Template::compile("t", "{% if true %}a{% elseif x %}b{% endif %}", jinja).err().unwrap();
    assert_eq!(&*error.message, "there is no tag `elseif`; did you mean `elif`?");
}

#[test]
fn foreign_tags_outside_stay_text() {
    for text in ["<%= x %> <% puts 1 %>", "<% end", "<% unless <%= x %>", "<% ending %>", "<% } %>"] {
        renders(text, text);
        renders(&format!("<% if true %>a<% endif %>{text}"), &format!("a{text}"));
    }
    renders("<% if true %><%= x %><% endif %>", "<%= x %>");
    renders("<% if true %><% raw %><% elseif x %><% endraw %><% endif %>", "<% elseif x %>");
}

#[test]
fn a_word_with_a_filter_of_ours_is_meant_for_us() {
    let says = "`api_key` is not a name that templates know; did you mean `secrets.api_key`?";
    for text in ["api_key | default(\"x\")", "api_key|upper", "- api_key | default 'x' -", "api_key | raw"] {
        fails_with(&format!("<<{text}>>"), says);
        fails_with(&format!("<% if true %><<{text}>><% endif %>"), says);
    }
    fails_with("<< api-key | default('x') >>", "did you mean `secrets[\"api-key\"]`?");
    for text in ["cat <<EOF | sort >>out\nEOF\n", "cat <<EOF | split -l 9\nEOF\n", "<<EOF | upper"] {
        renders(text, text);
    }
    renders("<% for x in ['a'] %><< x | upper >><% endfor %>", "A");
}

#[test]
fn what_is_left_as_text_is_told() {
    let text = "ü << api_key >> <<-db/prod->>\n{{ secrets.a }} {{secret('b')}} <% raw %><< c >>{{ secrets.d }}\
                <% endraw %> << secrets.a >> {{ e }} <# {{ secrets.f }} #> 1<<2 << g\n{{ secrets.h\n}}";
    let template = Template::compile("t", text, Options::default()).unwrap();
    let left: Vec<_> =
        template.left_as_text().iter().map(|left| (left.line, left.column, left.item.as_str())).collect();
    assert_eq!(
        left,
        [
            (1, 6, "secrets.api_key"),
            (1, 20, "secrets[\"db/prod\"]"),
            (2, 4, "<< secrets.a >>"),
            (2, 19, "<< secret('b') >>"),
        ]
    );
    let jinja = Options { syntax: Syntax::Jinja, ..Options::default() };
    assert!(Template::compile("t", "{{ secrets.a }} << b >>", jinja).unwrap().left_as_text().is_empty());
}
