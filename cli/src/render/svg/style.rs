//! Colours and fonts. The hues are those of Okabe and Ito, which the colour-blind can tell apart; owners beyond them get the
//! same hues with a pattern. Letters say the same without any colour.

use std::fmt::Write as _;

/// Hues: as they are, as a tint of a fifth on white, and the colour of letters on them.
pub(super) const HUES: [(&str, &str, &str); 7] = [
    ("#e69f00", "#faecc9", "#1a1a1a"),
    ("#56b4e9", "#ddf0fb", "#1a1a1a"),
    ("#009e73", "#ccece3", "#1a1a1a"),
    ("#f0e442", "#fcfad9", "#1a1a1a"),
    ("#0072b2", "#cce3f0", "#ffffff"),
    ("#d55e00", "#f7dfcc", "#1a1a1a"),
    ("#cc79a7", "#f5e4ed", "#1a1a1a"),
];

/// The style sheet and the patterns.
pub(super) fn sheet() -> String {
    let mut out = String::from(
        "<style>\n\
         text{font-family:'DejaVu Sans Mono',Menlo,Consolas,'Liberation Mono',monospace;fill:#1a1a1a}\n\
         .title{font-size:20px;font-weight:bold}.heading{font-size:16px;font-weight:bold}.name{font-size:14px;font-weight:bold}\n\
         .label{font-size:12px}.small{font-size:10px;fill:#555}.cpu{font-size:11px}.sign{font-size:12px;font-weight:bold}\n\
         .page{fill:#fff;stroke:#bbb}.package{fill:none;stroke:#777;stroke-dasharray:6 3}.node{fill:#f4f4f2;stroke:#555}\n\
         .group{fill:#fff;stroke:#999}.core{fill:#e9e9e6;stroke:none}.chip{fill:#fff;stroke:#555}\n\
         .free{fill:#fff;stroke:#aaa}.isolated{fill:#fff;stroke:#555;stroke-dasharray:2 2}.reserved{fill:#d4d4d4;stroke:#888}\n\
         .forbidden{fill:#eee;stroke:#bbb}.offline{fill:#fff;stroke:#bbb;stroke-dasharray:1 2}\n\
         .other{fill:#6e6e6e;stroke:#555}.othermask{fill:#dcdcdc;stroke:#888}.several{fill:none;stroke:#1a1a1a}\n\
         .held{fill:none;stroke:#1a1a1a;stroke-dasharray:2 2}.over{fill:url(#slant);stroke:none}.over2{fill:url(#dots);stroke:none}\n\
         .w{fill:#fff}.far{stroke:#bbb}\n",
    );
    for (number, (hue, tint, on_it)) in HUES.iter().enumerate() {
        let _ = writeln!(
            out,
            ".s{number}{{fill:{hue};stroke:#333}}.m{number}{{fill:{tint};stroke:{hue};stroke-width:1.5}}.t{number}{{fill:{on_it}}}"
        );
    }
    out.push_str(
        "</style>\n<defs>\n\
         <pattern id=\"slant\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <rect width=\"2\" height=\"6\" fill=\"#000\" fill-opacity=\"0.25\"/></pattern>\n\
         <pattern id=\"dots\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
         <circle cx=\"3\" cy=\"3\" r=\"1.2\" fill=\"#000\" fill-opacity=\"0.35\"/></pattern>\n</defs>",
    );
    out
}
