"""`python3 -m unittest discover -s e2e/bench -p '*_test.py'`"""

import unittest

import report


class Report(unittest.TestCase):
    def test_numbers(self):
        cases = {None: "-", 0.0: "0.00", 9.949: "9.95", 9.97: "10.0", 12.34: "12.3", 99.7: "100", 1234.5: "1234"}
        for value, expect in cases.items():
            self.assertEqual(report.number(value), expect, value)

    def test_a_ratio_has_both_sides_of_one_round(self):
        def samples(proxy, figures):
            return [
                {"proxy": proxy, "version": "http3", "round": number, "cpu_s_per_million": figure}
                for number, figure in enumerate(figures)
                if figure is not None
            ]

        cases = [
            # The machine is twice as slow in the second round.
            ([5, 10, 5], [10, 20, 10], 0.5),
            ([5, None, 8], [10, 20, 10], 0.65),
            ([5, 5], [None, None], None),
        ]
        for own, peer, expect in cases:
            own = samples("headrace", own)
            ratio = report.ratio_to(own + samples("envoy", peer), own, "envoy", "http3")
            self.assertEqual(ratio, expect, (own, peer))

    def test_what_failed_is_named_and_not_counted(self):
        good = {"round": 0, "cpu_s_per_million": 5.0, "messages_per_s": 9.0, "cores": 0.5}
        good.update(p50_us=1000, p99_us=2000)
        text = report.markdown({
            "machine": "2 cores",
            "date": "today",
            "extent": {"rounds": 1, "messages": 10, "speed_shape": "10 x 10"},
            "proxies": [{"name": "headrace", "title": "Headrace", "version": "1", "is_floor": False}],
            "speed": [
                {"proxy": "headrace", "version": "http1", **good},
                {"proxy": "headrace", "version": "http2", "round": 0, "failed": "no\nmore"},
            ],
        })  # fmt: skip
        self.assertIn("| HTTP/1.1 | Headrace 1 |", text)
        self.assertNotIn("| HTTP/2 ", text)
        self.assertIn("- speed: headrace over HTTP/2: no: more", text)

    def test_a_table_is_aligned(self):
        expect = "| a   |   b |\n| --- | --: |\n| x   |  10 |"
        self.assertEqual(report.table(["a", "b"], [["x", "10"]]), expect)


if __name__ == "__main__":
    unittest.main()
