/** The style of the page. The policy of the page names its hash, so nothing that is exported can bring a style of its own. */
export const htmlStyle = `
:root{color-scheme:light dark;--ground:#fbfaf7;--paper:#fff;--ink:#1f2328;--quiet:#636c76;--line:#dcd9d0;--user:#0b63a5;--assistant:#7a3fb3;--tool:#3b7045;--warn:#a4420b}
@media (prefers-color-scheme:dark){:root{--ground:#15171a;--paper:#1d2024;--ink:#e4e6e9;--quiet:#9aa3ad;--line:#363b42;--user:#76b6ee;--assistant:#c79bf2;--tool:#8cc798;--warn:#f0a36f}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main,header{max-width:52rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;line-height:1.25;margin:1rem 0 .5rem;overflow-wrap:anywhere}
header p{margin:.1rem 0;color:var(--quiet);overflow-wrap:anywhere}
article{background:var(--paper);border:1px solid var(--line);border-left:4px solid var(--quiet);border-radius:6px;padding:.6rem .9rem;margin:.8rem 0}
article.user{border-left-color:var(--user)}
article.assistant{border-left-color:var(--assistant)}
article.tool{border-left-color:var(--tool)}
h2{display:flex;flex-wrap:wrap;gap:.3rem .8rem;justify-content:space-between;font-size:.9rem;margin:0 0 .4rem}
h2 a,h2 small{color:var(--quiet);font-weight:normal;text-decoration:none}
.words{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;margin:.4rem 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;background:var(--ground);border:1px solid var(--line);border-radius:4px;padding:.5rem;margin:.4rem 0;font:.85rem/1.45 ui-monospace,monospace;max-height:40rem;overflow:auto}
details{margin:.4rem 0}
summary{cursor:pointer;color:var(--quiet);overflow-wrap:anywhere}
img{max-width:100%;height:auto;border-radius:4px}
.note{color:var(--quiet);font-style:italic}
.warn{color:var(--warn)}
.mark{border:0;border-top:2px dashed var(--line);border-bottom:2px dashed var(--line);padding:.5rem 0;margin:1.4rem 0}
@media print{details>*{display:block}pre{max-height:none}}
`
/** SHA-256 of the style, as policies write it; a test computes it again. */
export const htmlStyleHash = 'sha256-T0WDtZ7GwVwGhCDdxAx4NHvQY+FIDwUoIw9URHz/jUI='
