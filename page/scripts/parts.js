// What the lists of RCCs and of weak spots are made of; stands before their scripts.
function made(tag, name, ...content) {
  const part = document.createElement(tag);
  part.className = name;
  part.append(...content);
  return part;
}

// A failure rate with its interval, and a line at the rate beside which it stands; without one if that is null.
function rateBar({ rate, low, high }, other) {
  const track = made("span", "safe-rate-bar"), at = (share) => `${(100 * share).toFixed(1)}%`;
  const fill = made("i", "safe-rate-fill"), range = made("i", "safe-rate-range"), line = made("i", "safe-rate-base");
  fill.style.width = at(rate);
  range.style.left = at(low);
  range.style.width = at(Math.max(high - low, 0.004));
  line.style.left = at(other);
  track.append(fill, range, ...(other === null ? [] : [line]));
  track.setAttribute("aria-hidden", "true");  // the words beside it say it
  return track;
}


// What was said of the entries of a list since it was read: an answer that was on its way meanwhile is older. `news` has the
// run that it is about, at: when it was read, and entries, each with a key.
function newest(key) {
  const since = new Map();
  let run = "";
  return {
    hear(news) {
      if (!news.entries.length) return;
      if (news.run !== run) since.clear();
      run = news.run;
      for (const entry of news.entries) if (!(since.get(entry[key])?.at > news.at)) since.set(entry[key], { at: news.at, entry });
    },
    // Entries that were read, with what was said of them later.
    of(news) {
      return news.entries.map((entry) => {
        const later = news.run === run ? since.get(entry[key]) : null;
        return later?.at > news.at ? { ...entry, ...later.entry } : entry;
      });
    },
  };
}
