"""What market words say, on VADER's scale from -4 to +4: one table of words, one of phrases, one of words without tone.

Written for this project from the language of headlines. A word here replaces VADER's own tone for it, a phrase
replaces the tones of its words. To add one: put it into the row of its strength.
"""

WORDS: dict[float, str] = {
    3.0: "soar soars soared soaring skyrocket skyrockets skyrocketed skyrocketing blowout blockbuster",
    2.6: """
        surge surges surged surging rocket rockets rocketed rocketing stellar outstanding breakthrough triumph
        triumphs approval approves approved windfall
    """,
    2.2: """
        jump jumps jumped jumping rally rallies rallied rallying spike spikes boom booms booming bullish upgrade
        upgrades upgraded outperform outperforms outperformed outperforming outperformance accelerate accelerates
        accelerated accelerating beat beats unstoppable supercycle exceed exceeds exceeded record records thrive
        thrives thriving crush crushes crushing win wins won winning
    """,
    1.8: """
        climb climbs climbed climbing gain gains gained gaining rise rises rose rising rebound rebounds rebounded
        rebounding recover recovers recovered recovery breakout pop pops popped tops topped topping strong stronger
        strongest strength robust upbeat optimism optimistic upside profitable profitability boost boosts boosted
        boosting lift lifts lifted undervalued overweight resilient resilience bull bulls outpace outpaces outpaced
        outsell outsells tailwind tailwinds momentum lucrative turnaround comeback milestone solid favorite best
    """,
    1.4: """
        grow grows grew growing growth expand expands expanded expanding expansion advance advances advanced
        advancing improve improves improved improving improvement better opportunity opportunities partnership
        partnerships deal deals buyback buybacks repurchase attractive bargain innovative innovation confidence
        confident success successful wealth secures secured inks inked lands landed unveils unveil awarded award
        awards leader leading superior relief raise raises raised raising leap leaps leapt poised jolt surpass
        surpasses surpassed jackpot bonanza revitalize good
    """,
    1.0: """
        buy buys buying bought upgrading dividend dividends demand higher acquire acquires acquisition stake launch
        launches launched launching agreement agreements invest invests investing investment pledge pledges pledged
        hold boasts adds nears join joins lead leads reward rewards safe settles settle settled resolves resolved
        backs backed backing cheap magnificent top worth valuable winner winners
    """,
    -1.0: """
        lower dip dips dipped dipping slip slips slipped slipping soft softer softness quit quits cautious caution
        delay delays delayed delaying poaches scraps scrapped cancels cancelled shelves laggard laggards fade fades
        pause pauses paused restructuring overvalued expensive headwind headwinds volatile volatility challenge
        challenges challenging skeptical doubt doubts dilution scrutiny complaint complaints regulator regulators
        regulation pressure pressures pressured bans ban banned charge charges exits exit retreat retreats retreated
        cheaper sell sells selling sold underweight debt deficit short shorts
    """,
    -1.4: """
        fall falls fell falling drop drops dropped dropping decline declines declined declining lose loses lost
        losing loss losses weak weaker weakness weaken weakens weakened weakening slow slows slowed slowing slowdown
        slide slides slid sliding sink sinks sank sinking concern concerns concerned worry worries worried fear
        fears uncertainty uncertain risk risks risky trouble troubled struggle struggles struggling lag lags lagged
        lagging hurt hurts disappoint disappoints disappointed disappointing disappointment miss misses missed
        missing cut cuts cutting tariff tariffs penalty penalties fine fines fined threat threats threaten threatens
        warn warns warned warning warnings bear bears bearish blame criticism problem problems crunch stifle stifles
        stalls stalled stall backsliding shortage shortages violation violations violated unfair
    """,
    -1.8: """
        downgrade downgrades downgraded downgrading underperform underperforms underperformed underperformance slump
        slumps slumped slumping tumble tumbles tumbled tumbling sue sues sued suing lawsuit lawsuits litigation
        antitrust probe probes probed probing investigate investigates investigation investigations subpoena
        subpoenas recall recalls recalled layoff layoffs outage outages breach breaches hack hacked hackers halts
        halt halted suspend suspends suspended suspension shutdown shuttering shutters shut resign resigns resigned
        ousted selloff selloffs correction recession crisis illegal illegally misleading misled breached scandal
        sanctions boycott strike strikes impairment writedown writedowns fails fail failed failing failure slash
        slashes slashed slashing rejects rejected accused accuses allegation allegations alleges alleged stumble
        stumbles stumbled woes bubble reject dumps dumped
    """,
    -2.4: """
        plunge plunges plunged plunging crash crashes crashed crashing collapse collapses collapsed collapsing
        plummet plummets plummeted plummeting crater craters cratered nosedive nosedives nosedived tank tanks tanked
        tanking rout meltdown panic default defaults defaulted delisted delisting delist insolvent insolvency
        indicted indictment felony destroyed disaster carnage bloodbath wipeout worst
    """,
    -3.0: """
        bankrupt bankruptcy bankruptcies liquidation fraud frauds fraudulent ponzi embezzlement catastrophic
    """,
}
"""Tone -> words of that strength; a word that stands twice keeps the stronger row's tone, the first for a gain."""

PHRASES: dict[str, float] = {
    # numbers
    "up #": 1.4,
    "down #": -1.6,
    "is/are/was/were up": 1.2,
    "is/are/was/were down": -1.4,
    "down/up to #": 0.0,
    "# trillion market/valuation/club/company": 1.8,
    "# market cap/value": 1.4,
    # results against what was expected
    "you may/might have missed": 0.0,
    "beyond * expectations/estimates": 2.2,
    "beat/beats/beating/top/tops/topped/topping/exceed/exceeds/surpass/surpasses/crush/crushes/smash/smashes *"
    " estimates/estimate/expectations/forecasts/forecast/consensus/views/targets": 2.6,
    "miss/misses/missed/missing/trail/trails/lag/lags/below *"
    " estimates/estimate/expectations/forecasts/forecast/consensus/views/targets": -2.6,
    "better/stronger than expected/feared/forecast": 2.4,
    "worse/weaker/lower/slower than expected/forecast": -2.4,
    "more than expected": 0.5,
    "earnings/revenue/sales/profit/eps/double beat/beats": 2.4,
    "earnings/revenue/sales/profit/eps miss/misses": -2.6,
    "fall/falls/fell/come/comes/came short": -2.4,
    "profit/profits/margin/revenue/sales/earnings warning": -3.2,
    "warn/warns/warned * profit/sales/earnings/revenue": -2.6,
    "swing/swings/swung to * loss": -2.6,
    "swing/swings/swung to * profit": 2.2,
    "profit/profits/earnings/revenue/sales/margins decline/drop/drops/fall/falls/fell/slump/slumps/dip/dips": -2.2,
    "profit/profits/earnings/revenue/sales jump/jumps/rise/rises/rose/grow/grows/climb/climbs": 2.2,
    "beat and raise": 3.0,
    "record quarter/revenue/sales/profit/profits/earnings/deliveries": 2.4,
    # guidance, targets and ratings
    "raise/raises/raised/raising/lift/lifts/lifted/boost/boosts/boosted/hike/hikes/hiked/up/ups/upped *"
    " guidance/outlook/forecast/forecasts/target/targets/view": 2.4,
    "cut/cuts/cutting/lower/lowers/lowered/slash/slashes/slashed/trim/trims/trimmed/reduce/reduces/withdraw/withdraws"
    " * guidance/outlook/forecast/forecasts/target/targets/view": -2.4,
    "price target cut/lowered/slashed/trimmed/reduced": -2.4,
    "price target raised/boost/boosted/hike/hiked/increase/increased/lifted": 2.4,
    "guidance/outlook/forecast/estimates cut/lowered/slashed/withdrawn": -2.4,
    "guidance/outlook/forecast raised/lifted/boosted/hiked": 2.4,
    "weak/soft/disappointing/gloomy/cautious guidance/outlook/forecast": -2.4,
    "strong/upbeat/rosy/bullish guidance/outlook/forecast": 2.4,
    "street high price target": 1.8,
    "price target/targets": 0.0,
    "rating downgrade": -2.4,
    "rating upgrade": 2.4,
    "upgrades, downgrades": 0.0,
    "upgrades and downgrades": 0.0,
    "upgrade/upgrades/upgraded to buy/outperform/overweight": 2.6,
    "downgrade/downgrades/downgraded to sell/hold/neutral/underperform/underweight": -2.6,
    "strong buy": 2.2,
    "buy rating": 1.6,
    "sell rating": -2.0,
    "hold rating": 0.0,
    "neutral/equal weight": 0.0,
    "buy, sell or hold": 0.0,
    "buy sell or hold": 0.0,
    "buy or sell": 0.0,
    "buy or hold": 0.3,
    "time to sell": -1.4,
    "sell the news": -1.4,
    "should you/i/investors sell": -1.0,
    "not a buy": -1.6,
    "buy the dip": 1.2,
    "buying opportunity": 1.8,
    "buy point/points/zone": 1.2,
    "better buy": 1.0,
    "pound/pounds/pounding the table": 1.0,
    # prices
    "record/new/fresh/year high/highs": 2.4,
    "all time high/highs": 2.4,
    "52 week high/highs": 2.4,
    "record/new/fresh/year low/lows": -2.4,
    "all time low/lows": -2.4,
    "52 week low/lows": -2.4,
    "record close": 2.2,
    "hit/hits/reach/reaches/tops/passes/crosses/nears/joins * trillion": 2.0,
    "higher/high expectations": 0.6,
    "in the red": -1.8,
    "in red": -1.6,
    "take/takes/took/taking * hit": -1.8,
    "in the green": 1.6,
    "sell off/offs": -1.8,
    "bear market": -2.2,
    "bull market/run/case": 1.8,
    "bear case": -1.6,
    "dead cat bounce": -1.6,
    "short squeeze": 1.4,
    "short seller/sellers/report/reports": -2.4,
    "short interest": -0.6,
    "short term": 0.0,
    "close/closes/closed/open/opens/trading/trade/trades/move/moves/moving/end/ends lower": -1.8,
    "close/closes/closed/open/opens/trading/trade/trades/move/moves/moving/end/ends/edge/edges higher": 1.8,
    "wipe/wipes/wiped/wiping out/off": -2.4,
    "lose/loses/lost * in value": -2.2,
    "on the edge": -1.2,
    "hot seat": -1.4,
    "under pressure/fire": -1.8,
    "sends/sending * lower/down": -1.8,
    "sends/sending * higher/up/soaring": 1.8,
    "stock/shares up": 1.4,
    "stock/shares down": -1.6,
    "gears/gear/geared up": 0.0,
    "up next": 0.0,
    "set up": 0.0,
    "down to": 0.0,
    "going up": 1.2,
    "what's/whats up": 0.0,
    "break/breaks/breaking/broke down": -1.4,
    "breaks/broke out": 1.8,
    # distress
    "chapter 11/7": -3.2,
    "file/files/filed/filing for bankruptcy/protection": -3.2,
    "going concern": -2.8,
    "debt default": -2.8,
    "margin call/calls": -2.0,
    "accounting irregularities/error/errors/probe": -2.8,
    "restate/restates/restated/restatement": -2.4,
    "write down/off/downs/offs": -1.8,
    "goodwill impairment": -2.2,
    "cash burn": -1.8,
    "reverse split": -1.6,
    "dividend cut/suspension": -2.4,
    "cut/cuts/suspend/suspends/slash/slashes * dividend": -2.4,
    "raise/raises/raised/hike/hikes/boost/boosts/increases/increase * dividend": 2.2,
    "dividend hike/increase/boost": 2.2,
    "secondary/share/stock/dilutive offering": -1.6,
    "convertible notes": -1.0,
    "profit taking": -1.2,
    # people and work
    "lay/lays/laid/laying off": -2.0,
    "job/jobs/staff/workforce/role/roles cut/cuts": -2.0,
    "cut/cuts/cutting/slash/slashes/eliminate/eliminates/axe/axes/reduce *"
    " jobs/job/roles/workers/employees/staff/positions/workforce": -2.0,
    "hiring freeze": -1.6,
    "step/steps/stepping/stepped down": -1.2,
    "ceo/cfo exit/exits/resigns/departs/ousted/departure": -1.8,
    "insider/insiders selling/sales/sold": -1.4,
    "insider/insiders buying/buys": 1.4,
    # law and safety
    "dismiss/dismisses/dismissed/decertifies/tosses * lawsuit/suit/complaint/action/claims": 1.4,
    "lawsuit/suit/complaint/case dismissed": 1.4,
    "avoid/avoids/escape/escapes * investigation/probe/fine/penalty/lawsuit": 1.2,
    "shrug/shrugs/shrugging off * fears/concerns/worries": 1.2,
    "ordered to pay": -1.6,
    "take/takes/took * to court": -1.8,
    "class action": -2.0,
    "hit with": -1.6,
    "face/faces/facing * lawsuit/suit/complaint/probe/scrutiny/claims/charges/backlash/trial": -2.0,
    "data/security breach": -2.2,
    "safety probe/concerns/risk/risks": -1.8,
    "sec/doj/ftc/eu/federal probe/charges/investigation/inquiry/complaint": -2.2,
    "shareholder/investor alert": -1.0,
    "trade war/tensions": -1.6,
    "trade deal/truce/talks": 1.2,
    "fda approval/approves/clearance": 2.8,
    "fda rejects/rejection/hold": -2.8,
    "clinical hold": -2.6,
    "complete response letter": -2.6,
    "phase 1/2/3 success": 2.4,
    "trial failure/fails": -2.6,
    # deals, money, economy
    "partner/partners/partnered/teams/team up/with": 1.4,
    "joint venture": 1.2,
    "inflection point": 1.0,
    "cut/cuts/lower/lowers * tariffs": 1.2,
    "strike/strikes/struck/sign/signs/signed/ink/inks/land/lands/win/wins * deal/contract/agreement/pact/order": 2.0,
    "deal collapse/collapses/falls through": -2.2,
    "takeover bid/offer": 1.4,
    "hostile takeover": -0.4,
    "rate cut/cuts": 1.2,
    "rate hike/hikes": -1.2,
    "cost cuts/cutting/savings": 0.8,
    "price cut/cuts": -1.0,
    "cut/cuts * prices/price": -1.0,
    "tax cut/cuts": 1.2,
    "share/stock buyback/repurchase": 1.8,
    "stock split": 0.8,
    "market share gains": 1.8,
    "loses/losing/lost market share": -2.0,
    "free cash flow": 0.6,
    "great/good news": 1.4,
    "raise/raises/raised/raising concerns/questions/doubts/alarm": -1.8,
    "raise/raises/raised/raising * capital/funding": 0.8,
    "no brainer": 1.4,
    "too late to buy": 0.2,
    "too expensive": -1.4,
    "too big": -0.6,
    "ai bubble": -1.2,
    "worth buying": 1.2,
    "worth it": 0.4,
    "most important": 0.4,
    "pay package": 0.0,
    "supply glut": -1.6,
    "strong demand": 2.0,
    "demand slump/slows/weakens": -2.0,
    "ease/eases/easing * fears/concerns/worries/inflation": 1.4,
    "cease fire": 0.8,
    "earnings call/preview/season/date": 0.0,
    "class a/b/c": 0.0,
    "raise the bar": 0.8,
    "best buy co": 0.0,
    "up to": 0.0,
    "sign/signs up": 0.0,
    "up for": 0.0,
    "close to": 0.0,
    "top line": 0.0,
}  # fmt: skip
"""Phrase -> tone. `a/b` is either word, `*` up to three words, `#` a number; of two at one word the earlier wins."""

NEUTRAL = """
    share shares wells sharing shared gross vice crude cancer cancers tumor tumors tumour novel energy interest
    intelligence intelligent artificial amazon value values valued valuing asset assets credit credits treasury
    treasuries trust trusts trustee security securities equity united alert alerts pay party natural please special
    grand active passive support supports play plays player number numbers care cares gravity vision fire firing
    kind matter matters want wants hand hands great super smart smarter safety patient patients clear clears clean
    certain exclusive important focus focused fit fitness help helps helping ready leave leaves limited war weapon
    weapons battle battles fight fights fighting block blocks blockchain defense defence defensive pain drug drugs
    disease death deaths dead kill kills killed killer bomb shot blood severe infection virus stress stresses strain
    strains loan loans lie lies mad crazy monster beast giant hell heaven god holiday holidays gift gifts festival
    friend friends friendly love loved loves lover sweet hope hopes commit commits committed commitment create
    creates created creating solution solutions solve solved solves straight original engage engaged popular free
    freedom gold golden diamond treasure rich dream dreams legend wise perfect perfection charm rainbow joy fun
    happy laugh fantasy adventure romance hero heroes justice supreme worthy royal noble honor honour grace faith
    bless apple meta tender tenders tendered reserve allow allows agree agrees discount discounted low no opposed
    argue argues argument tough hard odd strange weird shocking unbelievable incredible fan fans bright jealous
    lonely alone chance chances feeling feelings popularity comfort comfortable cool wow yes ok okay hi thanks thank
    welcome welcomes demanding sore sick bitter ugly evil devil ghost witch beating brutal relentless speculative
    await awaits awaited reach reaches reached verdict extend extends extended increase increased increases capable
    competitive ability abilities efficiency efficient comprehensive talent talented approving shake shakes shakeup
    terror terrorist terrorists sarcastic tease teases teased teasing dominance domination profit profits huge
    massive disguise hiding exciting critical unified trusted like likes chaos inflation cash margin margins yield
    yields revenue revenues charity benefit benefits advantage advantages spark sparks
"""
"""Words whose everyday tone in VADER misleads here: names, terms of the trade, and what is only vivid."""
