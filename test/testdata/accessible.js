// What a browser knows about how a page looks, after WCAG 2.2: 1.4.3 and 1.4.11
// (contrast), 1.3.1 and 3.3.2 (labels), 2.4.2 and 3.1.1 (title and language).
(() => {
	const faults = [];
	const want = (ok, text) => { if (!ok) faults.push(text); };
	const parts = colour => colour.match(/[\d.]+/g).map(Number);
	const luminance = colour => {
		const [r, g, b] = parts(colour).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const contrast = (a, b) => {
		const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
		return (light + 0.05) / (dark + 0.05);
	};
	const ground = element => {
		for (let e = element; e; e = e.parentElement) {
			const colour = getComputedStyle(e).backgroundColor, alpha = parts(colour)[3];
			if (alpha === undefined || alpha === 1) return colour;
			if (alpha > 0) faults.push("a translucent background: " + colour);
		}
		faults.push("the page has no background of its own");
		return "rgb(255, 255, 255)";
	};

	want(document.documentElement.lang === "en", "no language");
	want(document.title.length > 3, "no title");
	want(document.querySelectorAll("h1").length === 1, "not one h1");
	want(document.querySelector("meta[name=viewport]"), "no viewport");
	want(document.querySelectorAll("script").length === 0, "a script");
	for (const table of document.querySelectorAll("table")) {
		want(table.caption && table.caption.textContent.trim(), "a table without a caption");
		for (const th of table.querySelectorAll("th")) want(th.scope, "a th without a scope");
	}
	const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
	want(new Set(ids).size === ids.length, "an id twice");
	for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
		want(e.labels.length === 1 && e.labels[0].textContent.trim(), "a field without a label: " + e.name);
		for (const id of (e.getAttribute("aria-describedby") || "").split(" ").filter(Boolean)) want(ids.includes(id), "no " + id);
	}
	for (const e of document.querySelectorAll("input:not([type=hidden]), button, a.button")) {
		const style = getComputedStyle(e), box = e.getBoundingClientRect();
		want(box.height >= 24 && box.width >= 24, "too small to be hit: " + e.outerHTML);
		const c = contrast(style.borderTopColor, ground(e.parentElement));
		want(c >= 3, `a border with a contrast of ${c.toFixed(2)}: ${e.outerHTML}`);
	}

	let texts = 0;
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const element = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || element.closest(".hidden, style")) continue;
		const c = contrast(getComputedStyle(element).color, ground(element));
		want(c >= 4.5, `text with a contrast of ${c.toFixed(2)}: ${walker.currentNode.data.trim()}`);
		texts++;
	}
	return {Faults: faults, Texts: texts, Width: innerWidth, Scroll: document.documentElement.scrollWidth};
})()
