/* page.S: tangled from nbs/api/33_page.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/33_page.ipynb § Into the ELF ---- */

/* page.S: the page at /, put together from three files. page.c serves what lies between
 * page_start and page_end. */
    .section .rodata.page, "a"
    .globl page_start, page_end
page_start:
    .ascii "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
    .ascii "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    .ascii "<meta name=\"color-scheme\" content=\"light dark\">\n<title>cllm</title>\n"
    .ascii "<link rel=\"icon\" type=\"image/svg+xml\" href=\"favicon.ico\">\n"
    .ascii "<link rel=\"manifest\" href=\"manifest.webmanifest\">\n<style>\n"
    .incbin "api/page.css"
    .ascii "</style>\n<body>\n"
    .incbin "api/page.html"
    .ascii "<script>\n"
    .incbin "api/page.js"
    .ascii "</script>\n"
page_end:
    .section .note.GNU-stack, "", @progbits
